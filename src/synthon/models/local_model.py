"""Language models on this machine: no key, no network."""

from __future__ import annotations

import asyncio
import math
import sys
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from numbers import Real
from typing import TYPE_CHECKING, Any

from synthon.core.constraints import are_texts
from synthon.core.errors import MissingExtra, Unsupported, UserError
from synthon.core.identity import canonical, digest, with_sample
from synthon.core.protocols import discard
from synthon.core.values import Delta, Image, Price, ToolCall, ToolResult
from synthon.models.cores import cores
from synthon.weights.on_disk import adapter_at, digest_of, path_of
from synthon.wrappers.demands import extra_of
from synthon.wrappers.journaled import Journaled

if TYPE_CHECKING:
    from pathlib import Path

    from synthon.core.constraints import Constraint
    from synthon.core.protocols import Emit
    from synthon.core.values import Capability, Completion, Request
    from synthon.decoding import Soundness
    from synthon.engine import Decoder, Settings
    from synthon.engine.binding import Weights
    from synthon.engine.scheduler import Program

DEFAULT = "smollm2-135m"
_MAX_TOKENS = 512


def local(
    name: str | Path = DEFAULT,
    *,
    temperature: float = 0.0,
    max_tokens: int = _MAX_TOKENS,
    context: int = 8192,
    threads: int | None = None,
    chat_template: str = "",
    parallel: int = 8,
    memory_gb: float = 1.0,
    deterministic: bool = True,
    adapter: str | Path | None = None,
) -> Journaled:
    """A model that runs in this process; nothing is loaded before the first call.

    Args:
        name: a model of `synthon models list`, a path that ends in .gguf, or `hf:organisation/repository/file.gguf`
            from the Hugging Face hub's folder on this machine.
        temperature: for requests that name none; 0 is greedy.
        max_tokens: for requests that name none.
        context: tokens of prompt and answer together, at most; less if the model was trained with less.
        threads: the cores this process may use but one, if None; a container has as many as its quota pays for.
        chat_template: Jinja source in place of the one in the model file.
        parallel: requests computed at once; more wait.
        memory_gb: for the keys and values of running and kept sequences; the weights come on top.
        deterministic: compute requests in one call only where that changes no number, which is tried once; with other
            weights one after another. False: always in one call, and the text may depend on the company.
        adapter: the path of a GGUF LoRA adapter for these weights; `synthon.optimize.finetune` makes one.

    Raises:
        UserError: no such name or file, or a size below 1.
        MissingExtra: the engine or the weights are not on this machine; says the command that gets them.
    """
    sizes = {
        "max_tokens": max_tokens,
        "context": context,
        "parallel": parallel,
        "threads": 1 if threads is None else threads,
    }
    for size, given in sizes.items():
        if not hasattr(given, "__index__") or given < 1:
            raise UserError(f"sy.local({name!r}, {size}={given!r}): pass a whole number, 1 or more.")
    path = path_of(str(name))
    require_engine()
    named = path.stem if str(name).endswith(".gguf") else str(name)
    added = None if adapter is None else adapter_at(adapter)
    model = LlamaModel(
        path,
        name=named if added is None else f"{named}+{added.stem}",
        temperature=temperature,
        max_tokens=max_tokens,
        context=context,
        threads=threads or max(1, cores() - 1),  # they spin: one too many costs ten times the speed
        chat_template=chat_template,
        parallel=parallel,
        memory_gb=memory_gb,
        deterministic=deterministic,
        adapter=added,
    )
    return Journaled(model, price=Price(0, 0))


def require_engine() -> None:
    """Pass where the local engine's packages are installed.

    Raises:
        MissingExtra: one is not; says how to get them.
    """
    for package in ("llama_cpp", "numpy", "jinja2"):
        if find_spec(package) is None:
            raise MissingExtra(
                f"The local engine is not installed: the package {package!r} is missing. It is compiled here "
                "(some 5 minutes), so get a compiler first: `apt-get install -y g++ make`. Then run "
                "`pip install 'synthon[local]'`."
            )


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class LlamaModel:
    """A GGUF model on this machine; `local` makes one. Equal settings share one engine in a process.

    An engine that no model names any more ends when the next one is loaded.

    The same request and sample give the same text in any process with equal `threads` and processor, alone, in a batch,
    or after others: the generator is seeded by the request's identity, and what the prefix cache gives back are the
    numbers that would be computed anew.
    Continuations are tokenized apart
    from the prompt, as the model itself would write them: a score is of exactly the continuation's tokens after
    the prompt's, and control tokens spelled out in it are plain text.
    """

    path: Path = field(kw_only=False)
    name: str = DEFAULT
    temperature: float = 0.0
    max_tokens: int = _MAX_TOKENS
    context: int = 8192
    threads: int = 1
    chat_template: str = ""
    parallel: int = 8
    memory_gb: float = 1.0
    deterministic: bool = True
    adapter: Path | None = None

    @property
    def _settings(self) -> Settings:
        from synthon.engine import Settings  # noqa: PLC0415 - the extra `local` asks for

        memory = int(self.memory_gb * 1e9)
        return Settings(self.path, self.context, self.threads, self.parallel, memory, self.deterministic, self.adapter)

    @property
    def identity(self) -> str:
        """`gguf:` and the weights' sha256, then the defaults that were changed."""
        changed = [
            f";{label}={value}"
            for label, value, default in (
                ("temperature", float(self.temperature), 0.0),
                ("max_tokens", self.max_tokens, _MAX_TOKENS),
                ("chat_template", self.chat_template and digest(self.chat_template), ""),
                ("deterministic", self.deterministic, True),
                ("adapter", _digest_of(self.adapter) if self.adapter else "", ""),
            )
            if value != default
        ]
        return f"gguf:{_digest_of(self.path)}" + "".join(changed)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({"chat", "fork", "grammar", "logprobs", "schema", "score"})

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        from synthon.engine import answer, engine_for  # noqa: PLC0415 - the extra `local` asks for

        filled = replace(
            request,
            temperature=self.temperature if request.temperature is None else request.temperature,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
        )
        self._check(filled)
        decoder = self._decoder(request.extra)
        seed = int(digest(with_sample(canonical(self.identity, request), request.sample)), 16)
        loop, listening = asyncio.get_running_loop(), emit is not discard

        def deliver(text: str) -> None:
            if listening:
                emit(Delta(text))

        def give(text: str) -> None:
            if listening:
                loop.call_soon_threadsafe(deliver, text)

        def work(weights: Weights) -> Program:
            return answer(
                weights, filled, give, seed=seed, template=self.chat_template, context=self.context, decoder=decoder
            )

        try:
            completion = await engine_for(self._settings, self).run(work, request.constraint)
        finally:
            listening = False
        return replace(completion, model=self.name)

    def close(self) -> None:
        """Free the engine of these settings; the next call loads it again."""
        from synthon.engine import engine_for  # noqa: PLC0415 - see complete

        engine_for(self._settings, self).close()

    def _decoder(self, extra: str) -> Decoder | None:
        """The search that `Request.extra` asks for: `{"decoder": {"kind": "beam", "width": 4}}`."""
        from synthon.engine import Decoder  # noqa: PLC0415 - the extra `local` asks for

        asked = extra_of(extra)
        rest = {name: value for name, value in asked.items() if name != "decoder"}
        if rest:
            raise Unsupported(
                f"The local model {self.name!r} cannot take the extra parameters {rest!r}; it takes `decoder`. Leave "
                "them out, or use a model of `sy.openai` or `sy.anthropic` that can."
            )
        if "decoder" not in asked:
            return None
        try:
            decoder = Decoder(**asked["decoder"])
            are_whole = all(type(number) is int for number in (decoder.width, decoder.budget))
            is_known = decoder.kind in {"beam", "best_k"} and are_whole and decoder.width >= 1
        except TypeError:
            is_known = False
        if not is_known:
            raise UserError(
                f"The local engine has no decoder {asked['decoder']!r}. Use sy.beam(4) or sy.best_k(4, 200)."
            )
        return decoder

    def soundness(self, constraint: Constraint) -> tuple[Soundness, ...]:
        """What of a constraint the engine's masks enforce, and what is checked after."""
        from synthon.decoding import soundness  # noqa: PLC0415 - the extra `local` asks for

        return soundness(constraint)

    def _check(self, request: Request) -> None:
        parts = [
            part for message in request.messages if not isinstance(message.content, str) for part in message.content
        ]
        asked = {
            "tools": bool(request.tools) or any(isinstance(part, ToolCall | ToolResult) for part in parts),
            "images": any(isinstance(part, Image) for part in parts),
        }
        for what, is_asked in asked.items():
            if is_asked:
                raise Unsupported(
                    f"The local model {self.name!r} cannot take {what}; it can {', '.join(sorted(self.capabilities))}. "
                    "Leave it out, or use a model of `sy.openai` or `sy.anthropic` that can."
                )
        possible = {
            "temperature": _is_within(request.temperature, 0, sys.float_info.max),
            "max_tokens": _is_within(request.max_tokens, 1, math.inf, int),
            "top_p": _is_within(request.top_p, math.ulp(0), 1),
            "top_k": _is_within(request.top_k, 0, math.inf, int),
            "min_p": _is_within(request.min_p, 0, 1),
            "logprobs": _is_within(request.logprobs, 0, math.inf, int),
            "stop": are_texts(request.stop),
        }
        for name, is_possible in possible.items():
            if not is_possible:
                raise UserError(
                    f"A request to the local model {self.name!r} has {name}={getattr(request, name)!r}, out of range. "
                    "Use temperature >= 0, max_tokens >= 1, top_p in 0..1 (not 0), top_k >= 0, min_p in 0..1, counts "
                    "that are whole, and for stop a tuple of texts, none empty."
                )


def _is_within(number: Any, least: float, most: float, kind: Any = Real) -> bool:
    """Whether a number is absent, or of the kind and within bounds."""
    return number is None or (isinstance(number, kind) and least <= number <= most)


def _digest_of(path: Path) -> str:
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - a changed file is another one
    return digest_of(path)
