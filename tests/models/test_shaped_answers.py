"""Shaped answers across the rooms: streams, guards, calibration, saving, reranking, with whatever model answers."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, computed_field

import synthon as sy
from synthon.core.stream import Stream
from synthon.core.values import Reasoning, TokenLogprob
from synthon.decoding import Soundness, soundness
from synthon.guards import Fail, Pass, guard, length
from synthon.retrieval.reranking import CrossEncoder, ModelReranker


def script(*lines: str, caps: tuple[Any, ...] = ("chat",)) -> tuple[sy.FunctionModel, list[sy.Request]]:
    left, seen = list(lines), []

    def answer(request: sy.Request) -> str:
        seen.append(request)
        return left.pop(0)

    return sy.FunctionModel(answer, capabilities=frozenset(caps)), seen


def short(value: str) -> Pass | Fail:
    return Pass() if len(value) <= 3 else Fail("too long", fix=value[:3])


@pytest.mark.parametrize("retractable", [True, False])
async def test_an_unmet_answer_of_a_text_step_does_not_stay_in_the_stream(*, retractable: bool) -> None:
    model, _ = script("wrong", "42")

    @sy.step(model=sy.Journaled(model), constraint=sy.regex(r"\d+", check=True))
    async def number(question: str) -> str:
        """Say a number."""
        ...

    text = ""
    async with Stream(lambda: number("?"), retractable=retractable) as stream:
        async for delta in stream:
            text = "" if delta.reset else text + delta.text
        assert text == await stream.result() == "42"


async def test_calibration_of_a_conversation_asks_without_its_content() -> None:
    def answer(request: sy.Request) -> sy.Completion:
        full = any("nice" in message.text for message in request.messages)
        return sy.Completion(scores=(sy.Score(-3.0 if full else -1.0, 1), sy.Score(-0.5 if full else -1.0, 1)))

    @sy.step(model=sy.FunctionModel(answer, capabilities=frozenset({"chat", "score"})), calibrate=True)
    async def mood(talk: list[sy.Message]) -> Literal["bad", "good"]:
        """Judge the mood."""
        ...

    assert await mood([sy.Message("user", "nice")]) == "good"


SHAPES = [sy.schema({"type": "object", "properties": {name: {}}}, check=True) for name in "ab"]
FREE = sy.where(words=(1, None), excludes="x") & (sy.choice("a", check=True) | sy.regex("b"))


@sy.step(constraint=sy.one_of(*SHAPES))
async def shaped(question: str) -> str:
    """Answer."""
    ...


@sy.step
async def plain(question: str) -> str:
    """Answer."""
    ...


@sy.program
async def both(question: str) -> str:
    return await shaped(question) + await plain(question)


@pytest.mark.parametrize("constraint", [*SHAPES, FREE, sy.grammar("start: /a/"), None])
def test_constraints_are_saved_and_loaded_as_they_are(constraint: Any, tmp_path: Path) -> None:
    for name in ("shaped.constraint", "plain.constraint"):
        changed = both.using({name: constraint})
        changed.save(tmp_path / "p.json")
        assert both.using(tmp_path / "p.json").settings == changed.settings
        assert pickle.loads(pickle.dumps(changed)).settings == changed.settings  # noqa: S301 - our own bytes


def test_options_of_one_name_are_told_apart_where_their_place_was_saved(tmp_path: Path) -> None:
    rerankers = [CrossEncoder(Path("m"), Path("t"), name="m", max_tokens=limit) for limit in (128, 512)]

    @sy.program
    async def ask(question: str, *, rerank: Any = sy.one_of(*rerankers)) -> str:  # noqa: B008 - a knob
        return question

    ask.using(rerank=rerankers[1]).save(tmp_path / "p.json")
    assert list(ask.using(tmp_path / "p.json").settings.values()) == [rerankers[1]]
    shape = json.loads((tmp_path / "p.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps(shape | {"settings": {"ask.rerank": {"name": "m"}}}))
    with pytest.raises(sy.UserError, match="more than once"):
        ask.using(tmp_path / "p.json")


class Sized(BaseModel, extra="forbid"):
    title: str

    @computed_field
    def size(self) -> int:
        return len(self.title)


class Aliased(BaseModel):
    title: str
    count: int = Field(serialization_alias="n")


@pytest.mark.parametrize("then", ["fix", "reask"])
@pytest.mark.parametrize(("kind", "first"), [(Sized, '{"title":"hello"}'), (Aliased, '{"title":"hello","count":2}')])
async def test_fields_are_fixed_and_merged_in_every_model(kind: Any, first: str, then: Any) -> None:
    model, seen = script(first, *['{"title":"hel"}'] * 5)

    @sy.step(model=model, guards=[guard(short, field="title", then=then)])
    async def title(question: str) -> kind:
        """Title."""
        ...

    assert (await title("?")).title == "hel"
    assert len(seen) == (1 if then == "fix" else 2)


async def test_a_guard_that_does_not_fit_the_type_is_refused_before_every_call() -> None:
    model, seen = script('{"value":[]}', '{"value":[]}')

    @sy.step(model=model, guards=[guard(length(at_most=3), field="*.titel")])
    async def cards(question: str) -> list[Aliased]:
        """Cards."""
        ...

    for _ in range(2):
        with pytest.raises(sy.UserError, match="titel"):
            await cards("?")
    assert seen == []


@pytest.mark.parametrize("check", [False, True])
async def test_a_constraint_that_nobody_holds_is_refused(*, check: bool) -> None:
    model, seen = script("wrong", "wrong")

    @sy.step(model=model, constraint=sy.regex(r"\d+", check=check))
    async def number(question: str) -> str:
        """Say a number."""
        ...

    with pytest.raises(sy.Unsupported, match="Journaled"):
        await number("?")
    assert seen == []
    async with sy.session(model) as s:
        s.text("A number? ")
        with pytest.raises(sy.OutputError if check else sy.Unsupported):
            await s.gen("n", constraint=sy.regex(r"\d+", check=check))


async def test_a_rerank_that_fails_leaves_nothing_running() -> None:
    done: list[str] = []

    async def answer(request: sy.Request) -> sy.Completion:
        if "p1" in request.messages[-1].text:
            raise sy.ProviderError("down")
        await asyncio.sleep(0.02)
        done.append(request.messages[-1].text)
        return sy.Completion(scores=(sy.Score(-1, 1), sy.Score(-1, 1)))

    model = sy.Journaled(sy.FunctionModel(answer, capabilities=frozenset({"chat", "score"})))
    with pytest.raises(sy.ProviderError):
        await ModelReranker(model).scores("q", [sy.Passage(f"p{number}") for number in range(4)])
    await asyncio.sleep(0.1)
    assert len(done) == 1


async def test_the_best_samples_reasoning_streams_too() -> None:
    said = sy.Completion("hi", logprobs=(TokenLogprob("hi", -1.0),), reasoning=(Reasoning("think"),))
    model = sy.FunctionModel(lambda _: said, capabilities=frozenset({"chat", "logprobs"}))

    @sy.step(model=sy.Journaled(model), strategy=sy.best_of(2))
    async def greet(question: str) -> str:
        """Greet."""
        ...

    async with greet.stream("?") as stream:
        assert "".join([delta.reasoning async for delta in stream]) == "think"


def test_there_is_one_soundness() -> None:
    assert Soundness is sy.Soundness
    assert all(isinstance(each, sy.Soundness) for each in soundness(sy.regex("x")))


async def test_what_a_guard_blocks_does_not_stay_in_the_stream() -> None:
    model, _ = script("secret", "secret")

    @sy.step(model=model, guards=[guard(short, then="refrain")])
    async def say(question: str) -> str:
        """Say."""
        ...

    text = ""

    async def listen(stream: sy.Stream[str]) -> None:
        nonlocal text
        async for delta in stream:
            text = "" if delta.reset else text + delta.text

    async with say.stream("?") as stream:
        with pytest.raises(sy.GuardBlocked):
            await listen(stream)
        with pytest.raises(sy.GuardBlocked):
            await stream.result()
    assert text == ""


def test_an_option_that_a_step_does_not_have_is_refused() -> None:
    step: Any = sy.step

    async def say(question: str) -> str:
        """Say."""
        ...

    with pytest.raises(TypeError, match="temprature"):
        step(temprature=0.5)(say)
