"""The engine at its edges: what fails leaves it working, and its bounds hold whatever was asked before."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import synthon as sy
from synthon.core.values import Completion, Message, Request
from synthon.engine.binding import Piece, Streams, Weights
from synthon.engine.prefixes import Prefixes
from synthon.models.local_model import LlamaModel
from tests.conftest import MODELS
from tests.models.loopback import Heard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.protocols import FloatArray

pytestmark = pytest.mark.engine

WEIGHTS = Path(MODELS) / "smollm2-135m" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT = [100 + number for number in range(90)]
SCRIPT = """
import asyncio, sys
from pathlib import Path
import synthon as sy
from synthon.models.local_model import LlamaModel
def run(model, **more):
    request = sy.Request((sy.Message("user", "hi"),), **{"max_tokens": 3, **more})
    return asyncio.run(model.complete(request)).text
"""


def ask(text: str, **more: Any) -> Request:
    return Request((Message("user", text),), **{"max_tokens": 6, "temperature": 0.0} | more)


def beam(width: object) -> str:
    return f'{{"decoder":{{"kind":"beam","width":{width}}}}}'


EXTRAS = ("{}", beam(2))


async def run(model: LlamaModel, *requests: Request) -> list[Completion]:
    return list(await asyncio.wait_for(asyncio.gather(*map(model.complete, requests)), 60))


def process(rest: str) -> tuple[int, str]:
    """Exit code and words of a process of its own: what is tested here once ended processes."""
    command = [sys.executable, "-c", SCRIPT + rest, str(WEIGHTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, done.stdout


def out_of_memory(*_: object) -> NoReturn:
    raise MemoryError("no room")


def test_a_temperature_that_float32_cannot_hold_is_greedy() -> None:
    assert process(
        "model = LlamaModel(Path(sys.argv[1]), threads=1, context=256)\n"
        "print(run(model, temperature=1e-46) == run(model, temperature=0.0))\n"
    ) == (0, "True\n")


def test_a_default_out_of_range_is_refused_as_a_requests_number_is() -> None:
    assert process(
        "for name, value in ('temperature', float('nan')), ('temperature', -1.0), ('max_tokens', 0):\n"
        "    model = LlamaModel(Path(sys.argv[1]), threads=1, context=256, **{name: value})\n"
        "    try: run(model, **{'max_tokens': 3, name: None})\n"
        "    except sy.UserError as error: print(f'has {name}={value!r}, out of range' in str(error))\n"
    ) == (0, "True\n" * 3)


def test_after_streams_that_could_not_be_made_the_engine_goes_on() -> None:
    assert process(
        "model = LlamaModel(Path(sys.argv[1]), threads=1, context=256, memory_gb=4)\n"
        'try: run(model, extra=\'{"decoder":{"kind":"beam","width":300}}\')\n'
        "except sy.UserError: print('refused')\n"
        "print(bool(run(model)))\n"
    ) == (0, "refused\nTrue\n")


async def test_a_width_that_is_no_whole_number_is_refused_and_leaves_no_slot_busy() -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=256, parallel=2)
    for extra in (beam(2.0), beam('"two"'), '{"decoder":{"kind":"depth","width":2}}'):
        with pytest.raises(sy.UserError, match="no decoder"):
            await run(model, ask("hi", extra=extra))
    assert (await run(model, ask("hi")))[0].text
    model.close()


def test_an_error_while_a_slot_is_filled_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Weights(WEIGHTS)
    cache = Prefixes(weights, context=256, parallel=1, memory=10**9, threads=1)
    (slot,) = cache.admit(PROMPT, "", room=4) or []
    cache.streams.compute([Piece(slot.number, 0, PROMPT)])
    slot.known = slot.length = len(PROMPT)
    cache.release(slot)
    with monkeypatch.context() as patch:
        patch.setattr(Streams, "save", out_of_memory)
        with pytest.raises(MemoryError, match="no room"):
            cache.admit([7, 8, 9, 10], "", room=4)
    assert cache.admit([7, 8, 9, 10], "", room=4) is not None
    cache.close()
    weights.close()


async def test_an_error_in_the_engine_ends_the_requests_and_not_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=256)
    await run(model, ask("hi"))
    with monkeypatch.context() as patch:
        patch.setattr(Prefixes, "is_coming", out_of_memory)
        with pytest.raises(MemoryError, match="no room"):
            await run(model, ask("hi"))
    assert (await run(model, ask("hi")))[0].text
    model.close()


def test_the_memory_bound_holds_from_the_beginning() -> None:
    weights = Weights(WEIGHTS)
    cache = Prefixes(weights, context=1024, parallel=8, memory=80_000_000, threads=1)
    assert cache.kept_bytes <= 80_000_000
    assert len(cache.slots) > 1
    cache.close()
    weights.close()


async def test_whether_a_beam_fits_does_not_depend_on_what_was_asked_before() -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=4096, memory_gb=0.2)
    (before,) = await run(model, ask("hi", extra=beam(8)))
    await run(model, ask("hi", max_tokens=3000, stop=(" ",)))
    (after,) = await run(model, ask("hi", extra=beam(8)))
    assert before.text == after.text
    model.close()


async def test_parallel_holds_after_a_beam_that_was_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=256, parallel=1)
    await run(model, ask("hi", extra=beam(4)))
    together, compute = [0], Streams.compute

    def counted(self: Streams, pieces: Sequence[Piece]) -> FloatArray:
        together.append(len(pieces))
        return compute(self, pieces)

    monkeypatch.setattr(Streams, "compute", counted)
    await run(model, *(ask(f"hi {number}") for number in range(4)))
    model.close()
    assert max(together) == 1


async def test_forced_tokens_at_the_beginning_are_part_of_max_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    begin = Streams.__init__

    def counted(self: Streams, *args: Any, cells: int, **more: Any) -> None:
        made.append(cells)
        begin(self, *args, cells=cells, **more)

    monkeypatch.setattr(Streams, "__init__", counted)
    model = LlamaModel(WEIGHTS, threads=1, context=1024)
    shape = sy.regex("The answer, which everybody knew, is (yes|no)")
    (done,) = await run(model, ask("hi", max_tokens=1024 - 31, constraint=shape))
    model.close()
    assert done.finish == "stop"
    assert max(made) == 1024


async def test_long_forced_text_has_a_probability_for_every_token() -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=1024)
    text = "the committee met on Monday " * 30
    (done,) = await run(model, ask("Say it.", max_tokens=600, constraint=sy.choice(text), logprobs=1))
    model.close()
    assert done.text == text
    assert len(done.logprobs) == done.usage.output_tokens > 120


async def test_a_text_that_ends_before_its_constraint_lets_it_says_so() -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=256)
    counted, shape = sy.where(tokens=(10, 20)), sy.regex("[a-z ]{30,}")
    cut = [ask("hi", max_tokens=4, constraint=constraint, extra=e) for constraint in (counted, shape) for e in EXTRAS]
    stopped = ask("hi", max_tokens=20, constraint=sy.where(tokens=(18, 20), startswith="a b c"), stop=("b",))
    whole = [
        ask("hi", max_tokens=4, constraint=sy.where(tokens=(2, 4), startswith="a")),
        ask("hi", max_tokens=9, constraint=sy.regex("a|a b c"), stop=(" b",)),
    ]
    for request in (*cut, stopped):
        for each in (model, sy.Journaled(model)):
            assert (await each.complete(request)).unmet
    for request in whole:
        for each in (model, sy.Journaled(model)):
            assert not (await each.complete(request)).unmet
    model.close()


async def test_a_search_that_is_cut_off_leaves_out_half_a_character() -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=256)
    shape = sy.regex("[\U0001f600-\U0001f64f]{6}")
    for decoder in (beam(3), '{"decoder":{"kind":"best_k","width":3,"budget":6}}'):
        for tokens in (1, 2, 5):
            asked = ask("An emoji!", max_tokens=tokens, constraint=shape, extra=decoder)
            heard = Heard()
            done = await model.complete(asked, heard)
            assert "\ufffd" not in done.text
            assert heard.text == done.text
    model.close()


async def test_best_k_goes_back_to_a_text_longer_than_a_batch() -> None:
    model = LlamaModel(WEIGHTS, threads=1, context=2048)
    long = f"{'1' * 560}95837"
    search = '{"decoder":{"kind":"best_k","width":1,"budget":1000}}'
    told = ask(f"Repeat: {'1' * 99}", max_tokens=1000, constraint=sy.choice(long, f"z{long}"), extra=search)
    (done,) = await run(model, told)
    model.close()
    assert done.text.startswith("1" * 500)
