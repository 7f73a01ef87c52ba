"""A local model trained on a program's accepted answers, as one more model for the search."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from synthon.core.errors import ContextTooLong, MissingExtra, Unsupported, UserError
from synthon.core.identity import digest, dumps
from synthon.core.progress import Progress
from synthon.core.running import Defaults
from synthon.core.values import Message
from synthon.models.local_model import LlamaModel
from synthon.optimize.exporting import export
from synthon.weights.on_disk import adapter_at

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.program import Program
    from synthon.core.progress import Watch
    from synthon.core.protocols import AnyJournal
    from synthon.core.step import Step
    from synthon.evals import Case, Metric
    from synthon.wrappers.journaled import Journaled

P = ParamSpec("P")
T = TypeVar("T")
_RECIPE = "synthon.recipe"
_ARCHITECTURES = ("llama", "qwen2")  # whose matrices Hugging Face and llama.cpp name one to one
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class LoRA:
    """How an adapter is trained (LoRA, Hu 2021, arXiv:2106.09685): AdamW, a rate that falls to 0, on answers only.

    Attributes:
        rank: of the two matrices beside each of the model's own.
        epochs: times every example is seen.
        rate: of learning, at first.
        batch: examples a step of training.
        seed: of the first values and the order.
        threads: of the training.
    """

    rank: int = 8
    epochs: int = 3
    rate: float = 1e-3
    batch: int = 8
    seed: int = 0
    threads: int = 1


async def finetune(
    program: Program[P, T] | Step[P, T],
    train: Sequence[Case[Any]],
    path: str | Path,
    *,
    model: Journaled,
    metric: Metric[Any, T],
    lora: LoRA | None = None,
    teacher: Callable[..., Awaitable[object]] | None = None,
    journal: AnyJournal | None = None,
    budget: Budget | None = None,
    accept: float = 1.0,
    workers: int = 8,
    watch: Watch | None = None,
) -> Journaled:
    """A local model with an adapter trained on what the program's steps should answer.

    Pass it to `optimize(..., models=[model, tuned])`, which then searches which step is better off with it; call this
    again with the program found, and prompts and weights are improved in turns (BetterTogether, Soylu 2024,
    arXiv:2407.10930). An adapter that is at `path` already, made of the same examples in the same way, is taken as
    it is, so that a script that was stopped goes on.

    Args:
        program: see `export`, as all that is not told here.
        train: rows.
        path: of the adapter, a GGUF LoRA file for llama.cpp; the examples lie in the folder of its name without suffix.
        model: of `sy.local`, without adapter.
        metric: of the whole.
        lora: how it is trained.
        teacher: gives the answers in place of the program.
        journal: keeps what is run; or the path of one.
        budget: of the run.
        accept: a row is kept from this score on.
        workers: rows at once.
        watch: gets a `Progress` after each step of training.

    Raises:
        MissingExtra: what trains is not installed.
        Unsupported: not a model of `sy.local`, or of a kind that is not trained here; its examples are written still.
        ContextTooLong: an example does not fit the model's context.
    """
    base, path = model.model, Path(path)
    if not isinstance(base, LlamaModel) or base.adapter is not None:
        kind = "has an adapter already" if isinstance(base, LlamaModel) else "does not run in this process"
        msg = f"{model.name!r} {kind}, so it cannot be trained here. Pass sy.local(...), or export(...) for elsewhere."
        raise Unsupported(msg)
    libraries = _Libraries()
    found = await export(
        program, train, path.with_suffix(""), metric=metric, teacher=teacher, journal=journal, budget=budget,
        accept=accept, workers=workers,
    )  # fmt: skip
    texts = [file.read_text(encoding="utf-8") for file in found.files.values()]
    # not splitlines: answers hold other line ends
    lines = [line for text in texts for line in text.split("\n") if line]
    training = _Training(libraries, base, lines, lora or LoRA())
    if not training.made(path):
        with Defaults.watch(f"finetune {model.name}") if watch is None else nullcontext(watch) as shown:
            await training.run(path, shown)
    return replace(model, model=replace(base, adapter=adapter_at(path), name=f"{base.name}+{path.stem}"))


class _Libraries:
    """What the extra `train` brings."""

    def __init__(self) -> None:
        try:
            names = ("torch", "transformers", "peft", "gguf")
            self.torch, self.transformers, self.peft, self.gguf = map(import_module, names)
        except ImportError as error:
            msg = (
                f"Training needs {error.name!r}, which is not installed. Run: pip install 'synthon[train]' (on a "
                "machine without a GPU install PyTorch's CPU build first), or use export(...) and train elsewhere."
            )
            raise MissingExtra(msg) from error


@dataclass
class _Training:
    libraries: Any
    base: LlamaModel
    lines: Sequence[str]
    lora: LoRA
    stop: Event = field(default_factory=Event)

    @property
    def recipe(self) -> str:
        """What decides the adapter: weights, examples, and how they are trained on."""
        how = {**asdict(self.lora), "threads": 0}
        return digest(dumps([self.base.identity, list(self.lines), how]))

    def made(self, path: Path) -> bool:
        """Whether the adapter at this path is the one wanted.

        Raises:
            UserError: there is something else.
        """
        if not path.exists():
            return False
        try:
            recipe = self.libraries.gguf.GGUFReader(path).get_field(_RECIPE)
        except ValueError:
            recipe = None
        if recipe is None:
            raise UserError(f"{str(path)!r} is no adapter that finetune wrote. Pass another path, or remove it.")
        return bool(recipe.contents() == self.recipe)

    async def run(self, path: Path, watch: Watch) -> None:
        """Train in a thread, and write the adapter; a cancelled one stops after its step and writes nothing."""
        loop = asyncio.get_running_loop()

        def tell(done: Progress) -> None:
            loop.call_soon_threadsafe(watch, done)

        try:
            await asyncio.to_thread(self._train, path, tell)
        finally:
            self.stop.set()

    def _train(self, path: Path, tell: Watch) -> None:
        torch, lora = self.libraries.torch, self.lora
        examples = self._examples()
        torch.manual_seed(lora.seed)
        threads = torch.get_num_threads()
        torch.set_num_threads(lora.threads)
        try:
            network = self._network()
            batches = list(self._batches(len(examples)))
            own = [each for each in network.parameters() if each.requires_grad]
            optimizer = torch.optim.AdamW(own, lora.rate, weight_decay=0.0)
            falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(batches))
            for number, batch in enumerate(batches, 1):
                if self.stop.is_set():
                    return
                loss = self._loss(network, [examples[place] for place in batch])
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                falling.step()
                tell(Progress(number, len(batches), label=f"loss {float(loss.detach()):.3f}"))
            self._write(network, path)
        finally:
            torch.set_num_threads(threads)

    def _examples(self) -> list[tuple[list[int], list[int]]]:
        """Prompt and answer as the engine's own tokens, the answer with its end."""
        from synthon.engine.binding import Weights  # noqa: PLC0415 - the extra `local` asks for
        from synthon.engine.prompt import render  # noqa: PLC0415 - same

        weights, found = Weights(self.base.path), []
        try:
            limit = min(self.base.context, weights.trained_context)
            for line in self.lines:
                *turns, last = [Message(**turn) for turn in json.loads(line)["messages"]]
                prompt = render(weights, turns, self.base.chat_template)
                answer = weights.tokenize(last.text) + weights.tokenize(weights.eos, control=True)
                if len(prompt) + len(answer) > limit:
                    msg = (
                        f"An example has {len(prompt) + len(answer)} tokens, the context holds {limit}: {line[:80]!r}. "
                        "Pass a model with a larger `context`, or leave such rows out."
                    )
                    raise ContextTooLong(msg, tokens=len(prompt) + len(answer), limit=limit)
                found.append((prompt, answer))
        finally:
            weights.close()
        return found

    def _network(self) -> Any:
        """The weights, unpacked, with an untrained adapter on each matrix of their layers."""
        transformers, peft = self.libraries.transformers, self.libraries.peft
        network = transformers.AutoModelForCausalLM.from_pretrained(
            str(self.base.path.parent), gguf_file=self.base.path.name, dtype=self.libraries.torch.float32,
            quantization_config=transformers.GgufConfig(dequantize=True), local_files_only=True,
        )  # fmt: skip
        if network.config.model_type not in _ARCHITECTURES:
            msg = (
                f"{self.base.name!r} is of the kind {network.config.model_type!r}; trained here are "
                f"{', '.join(_ARCHITECTURES)}. Use the exported examples elsewhere, and convert_lora_to_gguf.py."
            )
            raise Unsupported(msg)
        rank = self.lora.rank
        return peft.get_peft_model(
            network, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", bias="none")
        )

    def _batches(self, count: int) -> Iterator[list[int]]:
        drawn = np.random.default_rng(self.lora.seed)
        for _ in range(self.lora.epochs):
            order = drawn.permutation(count).tolist()
            yield from (order[start : start + self.lora.batch] for start in range(0, count, self.lora.batch))

    def _loss(self, network: Any, batch: Sequence[tuple[list[int], list[int]]]) -> Any:
        """Mean negative log-likelihood of the answers' tokens."""
        torch = self.libraries.torch
        length = max(len(prompt) + len(answer) for prompt, answer in batch)
        tokens, wanted = np.zeros((len(batch), length), np.int64), np.full((len(batch), length), _IGNORED, np.int64)
        for row, (prompt, answer) in enumerate(batch):
            end = len(prompt) + len(answer)
            tokens[row, :end] = prompt + answer
            wanted[row, len(prompt) - 1 : end - 1] = answer
        inner, targets = network.get_base_model(), torch.from_numpy(wanted)
        # padding stands on the right, where causal attention never looks back from; logits only where answers are
        hidden = inner.model(torch.from_numpy(tokens)).last_hidden_state[targets != _IGNORED]
        return torch.nn.functional.cross_entropy(inner.lm_head(hidden), targets[targets != _IGNORED])

    def _write(self, network: Any, path: Path) -> None:
        """The adapter in llama.cpp's names and order of rows; put in its place once it is whole."""
        gguf, config = self.libraries.gguf, network.get_base_model().config
        kind = config.model_type
        architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == kind)
        names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        writer = gguf.GGUFWriter(part, kind)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 2.0 * self.lora.rank)
        writer.add_string(_RECIPE, self.recipe)
        for name, values in network.named_parameters():
            module, _, which = name.removeprefix("base_model.model.").partition(".lora_")
            if which:
                matrix = values.detach().numpy()
                if which[0] == "B" and kind == "llama" and module.endswith(("q_proj", "k_proj")):
                    heads = config.num_attention_heads if module.endswith("q_proj") else config.num_key_value_heads
                    matrix = _rotated(matrix, heads)
                writer.add_tensor(f"{names.get_name(module)}.weight.lora_{which[0].lower()}", matrix)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(path)


def _rotated(matrix: Any, heads: int) -> Any:
    """Rows of queries and keys as llama.cpp rotates them: pairs side by side, not a half apart."""
    halves = matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, matrix.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(matrix.shape))


__all__ = ["LoRA", "finetune"]
