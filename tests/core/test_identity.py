"""One serialisation: what is hashed is what is stored, and all that decides an answer is in it."""

import dataclasses
import gc
import json
import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, HttpUrl, SecretStr, create_model, field_serializer

import synthon as sy
from synthon.core.identity import adapter, canonical, digest, dump_completion, load_completion, to_json, with_sample
from synthon.core.protocols import RunRecord
from tests.core.counting import Counting, ask

TURN = (sy.Message("user", "hi"),)
PARTS = (
    sy.Text("look", cache=True),
    sy.Image(data="aGk=", media_type="image/jpeg"),
    sy.Image(url="http://127.0.0.1/a.png"),
    sy.Reasoning("hm", signature="seal", redacted=True),
    sy.ToolCall("c1", "add", '{"a": 1}'),
    sy.ToolResult("c1", (sy.Text("2"), sy.Image(data="aGk=")), is_error=True),
)


def key(request: sy.Request, identity: str = "m") -> str:
    return digest(canonical(identity, request))


def test_types_made_for_one_call_are_forgotten() -> None:
    made = []
    for _ in range(600):
        model = create_model("Made", a=(int, ...))
        assert to_json(adapter(model).validate_json('{"a":1}')) == '{"a":1}'
        made.append(weakref.ref(model))
    del model
    gc.collect()
    assert sum(each() is not None for each in made) <= 520


def test_a_temperature_of_0_is_one_of_0_point_0() -> None:
    zero, real, minus = (sy.Request(TURN, temperature=t, top_p=1, min_p=t) for t in (0, 0.0, -0.0))
    assert key(zero) == key(real) == key(minus)
    assert '"temperature":0.0,"top_p":1.0' in canonical("m", zero)


def test_what_is_left_at_its_default_does_not_appear() -> None:
    assert json.loads(canonical("m", sy.Request(TURN))) == {"model": "m", "messages": [["user", "hi"]]}


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.0},
        {"max_tokens": 0},
        {"max_tokens": 5},
        {"top_p": 0.0},
        {"top_k": 0},
        {"top_k": 4},
        {"min_p": 0.1},
        {"stop": ("x",)},
        {"seed": 0},
        {"seed": 1},
        {"tools": (sy.ToolSpec("add", "adds", "{}"),)},
        {"constraint": sy.Choice(("a", "b"))},
        {"constraint": sy.Regex("a|b")},
        {"constraint": sy.Schema("{}")},
        {"constraint": sy.Grammar("start: A")},
        {"continuations": ("a",)},
        {"logprobs": 2},
        {"extra": '{"n":1}'},
        {"messages": (sy.Message("system", "hi"),)},
        {"messages": (sy.Message("user", "hi "),)},
        *({"messages": (sy.Message("user", (part,)),)} for part in PARTS),
    ],
)
def test_all_that_decides_an_answer_changes_the_key(changed: dict[str, object]) -> None:
    assert key(dataclasses.replace(sy.Request(TURN), **changed)) != key(sy.Request(TURN))  # type: ignore[arg-type] # fields by name


def test_salt_and_sample_are_no_part_of_the_canonical_text() -> None:
    plain = sy.Request(TURN)
    assert canonical("m", dataclasses.replace(plain, salt="tenant", sample=3)) == canonical("m", plain)


def test_the_sample_number_makes_a_key_of_its_own_and_stays_readable() -> None:
    text = canonical("m", sy.Request(TURN))
    assert with_sample(text, 0) == text
    assert json.loads(with_sample(text, 7))["sample"] == 7
    assert len({digest(with_sample(text, n)) for n in range(20)}) == 20


def test_two_endpoints_never_share_a_key() -> None:
    assert key(sy.Request(TURN), "http://a/v1 qwen") != key(sy.Request(TURN), "http://b/v1 qwen")


async def test_two_endpoints_with_one_model_name_never_share_a_row() -> None:
    journal = sy.MemoryJournal()
    here, there = Counting("qwen", lambda _: "here"), Counting("qwen", lambda _: "there")
    there.identity = "other endpoint, qwen"
    for model, said in ((here, "here"), (there, "there"), (here, "here")):
        answer = await sy.run(sy.Journaled(model).complete, ask("hi"), journal=journal, policy="cache")
        assert answer.text == said
    assert (here.calls, there.calls) == (1, 1)


def test_two_functions_are_two_models_unless_they_are_given_one_identity() -> None:
    def one(_: sy.Request) -> str:
        return "1"

    def two(_: sy.Request) -> str:
        return "2"

    assert sy.FunctionModel(one).identity == sy.FunctionModel(one).identity != sy.FunctionModel(two).identity
    assert sy.FunctionModel(one, identity="x").identity == sy.FunctionModel(two, identity="x").identity == "x"
    assert sy.FunctionModel(str).identity != sy.FunctionModel(repr).identity


def test_images_tools_and_reasoning_come_back_from_the_canonical_text() -> None:
    shape = json.loads(canonical("m", sy.Request((sy.Message("assistant", PARTS),))))
    kinds = {"text": sy.Text, "image": sy.Image, "reasoning": sy.Reasoning, "tool_call": sy.ToolCall}

    def value(part: dict[str, object]) -> object:
        kind = str(part.pop("kind"))
        if kind != "tool_result":
            return kinds[kind](**part)
        inner = part.pop("content")
        assert isinstance(inner, list)
        return sy.ToolResult(content=tuple(value(item) for item in inner), **part)  # type: ignore[arg-type,misc] # same

    [[role, content]] = shape["messages"]
    assert role == "assistant"
    assert tuple(value(part) for part in content) == PARTS


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p"])
def test_a_number_that_json_cannot_hold_is_refused(name: str, number: float) -> None:
    with pytest.raises(sy.UserError, match="Pass finite numbers only"):
        canonical("m", dataclasses.replace(sy.Request(TURN), **{name: number}))  # type: ignore[arg-type] # fields by name


def test_a_value_with_no_canonical_form_is_refused() -> None:
    with pytest.raises(sy.UserError, match="no canonical form"):
        canonical("m", sy.Request(TURN, stop=({"x"},)))  # type: ignore[arg-type] # on purpose


def test_lone_surrogates_have_a_key_and_can_be_stored() -> None:
    text = canonical("m", sy.Request((sy.Message("user", "half \ud83d of a pair"),)))
    assert text.encode()
    assert json.loads(text)["messages"][0][1] == "half \ud83d of a pair"
    assert "ü" in canonical("m", sy.Request((sy.Message("user", "grün"),)))


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_two_texts_share_a_key_only_when_they_are_equal(one: str, two: str) -> None:
    first, second = (sy.Request((sy.Message("user", text),)) for text in (one, two))
    assert (key(first) == key(second)) == (one == two)


@given(
    st.text(st.characters(codec=None)),
    st.lists(st.builds(sy.TokenLogprob, st.text(), st.floats(-50, 0), st.just((("a", -1.0),)))).map(tuple),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)
def test_a_completion_comes_back_from_its_row(text: str, logprobs: tuple[sy.TokenLogprob, ...], finish: str) -> None:
    completion = sy.Completion(
        text,
        sy.Usage(1, 2, 3, 4, 5, 0.25, 6),
        (sy.ToolCall("c", "n", "{}"),),
        (sy.Reasoning("r", "s"),),
        (sy.Score(-1.5, 2),),
        logprobs,
        finish,  # type: ignore[arg-type] # one of its literals
        "m",
    )
    assert load_completion(dump_completion(completion)) == completion
    assert load_completion(dump_completion(sy.Completion())) == sy.Completion()


@pytest.mark.parametrize("text", ["a", "half \ud83d"])
def test_an_impossible_token_comes_back_from_its_row_and_from_rows_that_have_null_for_it(text: str) -> None:
    never = -math.inf
    scores = (sy.Score(-1.0, 2, (never, -1.0)), sy.Score(never, 1))
    logprobs = (sy.TokenLogprob("null", never, (("b", never), ("c", -0.5))),)
    completion = sy.Completion(text, scores=scores, logprobs=logprobs, neutral=scores)
    row = dump_completion(completion)
    assert load_completion(row) == completion
    assert load_completion(row.replace('"-Infinity"', "null").replace("-Infinity", "null")) == completion


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_a_trace_takes_any_value() -> None:
    circle: list[object] = []
    circle.append(circle)
    deep: list[object] = []
    for _ in range(3000):
        deep = [deep]
    odd = [circle, deep, "half \ud83d", {"a": object()}, {1: float("nan")}, b"\xff", [sy.Text("x")], {1j, "x"}]
    for value in [*odd, Mute(), [Mute(), "half \ud83d"], {"a": (Mute(),)}, {Mute(), "x"}]:
        json.loads(to_json(value, unread=True))
    assert "Mute object at 0x" in to_json({"a": Mute()})
    half = {"a": ["half \ud83d"], "b": sy.Text("\udd25")}
    assert json.loads(to_json(half)) == {"a": ["half \ud83d"], "b": {"text": "\udd25", "cache": False, "kind": "text"}}


def test_a_trace_leaves_iterators_unread(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    with (tmp_path / "a.txt").open() as file:
        cases: list[tuple[Iterator[object], list[object]]] = [
            (iter([1]), [1]),
            ((n for n in (1, 2)), [1, 2]),
            (file, ["one"]),
        ]
        for value, left in cases:
            json.loads(to_json({"args": ([value],), "k": value}, unread=True))
            assert list(value) == left


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b", "a"}, '["a","b"]'),
        ({"k": [frozenset({10, 9, 1})]}, '{"k":[[1,9,10]]}'),
        ({"10", 9, None}, '["10",9,null]'),
        (frozenset({frozenset({"d", "c"}), frozenset({"b", "a"})}), '[["a","b"],["c","d"]]'),
    ],
)
def test_the_json_of_a_set_is_sorted(value: object, text: str) -> None:
    assert to_json(value) == text


class Tagged(BaseModel):
    tags: set[str] = Field(alias="Tags")
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Held:
    names: frozenset[str]
    inner: Tagged
    rest: object = None


def test_sets_inside_models_and_dataclasses_are_sorted_too() -> None:
    letters = "qwertyuiopas"  # in the same order by chance once in 12! runs
    ordered = json.dumps(sorted(letters), separators=(",", ":"))
    tagged = Tagged(Tags=set(letters))
    assert to_json(tagged) == f'{{"Tags":{ordered},"note":""}}'
    assert to_json(tagged, again=True) == f'{{"tags":{ordered},"note":""}}'
    stream = iter([1])
    held = [{"one": Held(frozenset(letters), tagged, stream)}]
    start = f'[{{"one":{{"names":{ordered},"inner":{{"Tags":{ordered},"note":""}},"rest":"<list_iterator'
    assert to_json(held, unread=True).startswith(start)
    assert list(stream) == [1]
    assert adapter(Tagged).validate_json(to_json(tagged, again=True), by_name=True) == tagged


class Anything(BaseModel):
    value: Any = None
    more: list[Any] = []
    link: HttpUrl | None = None


class Told(BaseModel):
    at: int
    tags: frozenset[str]

    @field_serializer("at", when_used="json")
    def _told(self, value: int) -> str:
        return f"<{value}>"


def test_sets_that_a_type_does_not_tell_of_are_sorted_and_the_rest_is_told_as_ever() -> None:
    letters = "qwertyuiopas"
    ordered = json.dumps(sorted(letters), separators=(",", ":"))
    link = "https://a.example/b"
    anything = Anything(value=set(letters), more=[{"k": frozenset(letters)}], link=HttpUrl(link))
    assert to_json(anything) == f'{{"value":{ordered},"more":[{{"k":{ordered}}}],"link":"{link}"}}'
    assert to_json(Told(at=1, tags=frozenset(letters))) == f'{{"at":"<1>","tags":{ordered}}}'


def test_values_that_pydantic_writes_without_a_schema_of_their_own_are_told() -> None:
    assert to_json([HttpUrl("https://a.example/"), SecretStr("key")]) == '["https://a.example/","**********"]'


async def test_a_journal_does_not_use_up_what_a_program_is_given_and_returns() -> None:
    @sy.program
    async def doubled(prices: Iterator[int]) -> Iterator[int]:
        return (2 * price for price in prices)

    journal = sy.MemoryJournal()
    assert list(await sy.run(doubled, iter([1, 2, 3]), journal=journal)) == [2, 4, 6]
    assert list(await sy.run(doubled, (n for n in (1, 2)), journal=journal)) == [2, 4]
    assert "generator object" in str([row.result for row in journal.records if isinstance(row, RunRecord)])


async def test_a_turn_that_is_no_message_is_refused() -> None:
    model: Any = sy.Journaled(sy.FunctionModel(lambda _: "x"))
    turn: Any = {"role": "user", "content": "hi"}

    @sy.step(model=model)
    async def talk(history: list[sy.Message], question: str) -> str:
        """Talk."""
        ...

    with pytest.raises(sy.UserError, match=r"{'role'.* is no turn.*Pass such as sy\.Message\('user', 'Hello'\)"):
        await sy.run(talk, [turn], "a", journal=sy.MemoryJournal())
