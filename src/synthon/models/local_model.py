"""Language models on this machine: no key, no network."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from synthon.core.errors import MissingExtra, Unsupported, UserError
from synthon.core.identity import canonical, digest, with_sample
from synthon.core.protocols import discard
from synthon.core.values import Delta, Image, Price, ToolCall, ToolResult
from synthon.models.journaled import Journaled
from synthon.models.weights import digest_of, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from synthon.core.protocols import Emit
    from synthon.core.values import Capability, Completion, Request
    from synthon.models.engine.binding import Llama

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
) -> Journaled:
    """A model that runs in this process; nothing is loaded before the first call.

    Args:
        name: a model of `synthon models list`, a path that ends in .gguf, or `hf:organisation/repository/file.gguf`
            from the Hugging Face hub's folder on this machine.
        temperature: for requests that name none; 0 is greedy.
        max_tokens: for requests that name none.
        context: tokens of prompt and answer together, at most; less if the model was trained with less.
        threads: the cores this process may use but one, if None.
        chat_template: Jinja source in place of the one in the model file.

    Raises:
        MissingExtra: the engine or the weights are not on this machine; says the command that gets them.
    """
    path = path_of(str(name))
    for package in ("llama_cpp", "numpy", "jinja2"):
        if find_spec(package) is None:
            raise MissingExtra(
                f"The local engine is not installed: the package {package!r} is missing. It is compiled here "
                "(some 5 minutes), so get a compiler first: `apt-get install -y g++ make`. Then run "
                "`pip install 'synthon[local]'`."
            )
    model = LlamaModel(
        path,
        name=path.stem if str(name).endswith(".gguf") else str(name),
        temperature=temperature,
        max_tokens=max_tokens,
        context=context,
        threads=threads or _cores(),
        chat_template=chat_template,
    )
    return Journaled(model, price=Price(0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaModel:
    """A GGUF model on this machine; `local` makes one. Equal settings share one engine in a process.

    The same request and sample give the same text in any process with equal `threads` and processor: the generator is
    seeded by the request's identity, and every request begins with empty caches. Continuations are tokenized apart
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

    @property
    def identity(self) -> str:
        """`gguf:` and the weights' sha256, then the defaults that were changed."""
        status = self.path.stat()
        changed = [
            f";{label}={value}"
            for label, value, default in (
                ("temperature", float(self.temperature), 0.0),
                ("max_tokens", self.max_tokens, _MAX_TOKENS),
                ("chat_template", self.chat_template and digest(self.chat_template), ""),
            )
            if value != default
        ]
        return f"gguf:{_digest(self.path, status.st_size, status.st_mtime_ns)}" + "".join(changed)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({"chat", "logprobs", "score"})

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        from synthon.models.engine import Settings, answer, engine_for  # noqa: PLC0415 - the extra `local` asks for

        self._check(request)
        seed = int(digest(with_sample(canonical(self.identity, request), request.sample)), 16)
        filled = replace(
            request,
            temperature=self.temperature if request.temperature is None else request.temperature,
            max_tokens=self.max_tokens if request.max_tokens is None else request.max_tokens,
        )
        loop, listening = asyncio.get_running_loop(), emit is not discard

        def deliver(text: str) -> None:
            if listening:
                emit(Delta(text))

        def give(text: str) -> None:
            if listening:
                loop.call_soon_threadsafe(deliver, text)

        def work(llama: Llama) -> Completion:
            return answer(llama, filled, give, seed=seed, template=self.chat_template)

        try:
            completion = await engine_for(Settings(self.path, self.context, self.threads)).run(work)
        finally:
            listening = False
        return replace(completion, model=self.name)

    def close(self) -> None:
        """Free the engine of these settings; the next call loads it again."""
        from synthon.models.engine import Settings, engine_for  # noqa: PLC0415 - see complete

        engine_for(Settings(self.path, self.context, self.threads)).close()

    def _check(self, request: Request) -> None:
        parts = [
            part for message in request.messages if not isinstance(message.content, str) for part in message.content
        ]
        asked = {
            f"a constraint ({type(request.constraint).__name__})": request.constraint is not None,
            "tools": bool(request.tools) or any(isinstance(part, ToolCall | ToolResult) for part in parts),
            "images": any(isinstance(part, Image) for part in parts),
            f"the extra parameters {request.extra}": bool(request.extra),
        }
        for what, is_asked in asked.items():
            if is_asked:
                raise Unsupported(
                    f"The local model {self.name!r} cannot take {what}; it can {', '.join(sorted(self.capabilities))}. "
                    "Leave it out, or use a model of `sy.openai` or `sy.anthropic` that can."
                )
        numbers = {
            "temperature": request.temperature is None or 0 <= request.temperature < math.inf,
            "max_tokens": request.max_tokens is None or request.max_tokens >= 1,
            "top_p": request.top_p is None or 0 < request.top_p <= 1,
            "top_k": request.top_k is None or request.top_k >= 0,
            "min_p": request.min_p is None or 0 <= request.min_p <= 1,
            "logprobs": request.logprobs >= 0,
        }
        for number, is_possible in numbers.items():
            if not is_possible:
                raise UserError(
                    f"A request to the local model {self.name!r} has {number}={getattr(request, number)!r}, out of "
                    "range. Use temperature >= 0, max_tokens >= 1, top_p in 0..1 (not 0), top_k >= 0, min_p in 0..1."
                )


def _cores() -> int:
    """The cores there are but one: llama.cpp's threads wait by spinning, and one too many costs ten times the speed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - a changed file is another one
    return digest_of(path)
