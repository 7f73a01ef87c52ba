"""How inputs become messages, and how partial text becomes partial values."""

import dataclasses
import enum
import json
from collections.abc import Callable
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field

import synthon as sy
from synthon.core.output import Output


class Answer(BaseModel):
    text: str
    sources: list[int] = []
    inner: "Answer | None" = None


@dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class Page:
    picture: sy.Image


class Shot(BaseModel):
    picture: sy.Image


model = sy.FunctionModel(lambda request: "x")


async def test_inputs_are_shown_by_name_and_passages_by_number() -> None:
    @sy.step(model=model)
    async def answer(question: str, passages: list[sy.Passage], point: Point, empty: list[sy.Passage]) -> str:
        """Answer."""
        ...

    passages = [sy.Passage("one", title="First"), sy.Passage("two")]
    messages = (await answer.explain("why?", passages, Point(1), [])).messages
    assert messages[1].text == 'question: why?\n\npassages: [1] First\none\n\n[2] two\n\npoint: {"x":1}\n\nempty: []'


class Plain:
    pass


class Told:
    def __repr__(self) -> str:
        return "told"


async def test_an_input_that_only_has_an_address_is_refused() -> None:
    @sy.step(model=model)
    async def answer(about: object) -> str:
        """Answer."""
        ...

    assert (await answer.explain([Told(), int, 1j])).messages[1].text == """["told","<class 'int'>","1j"]"""
    assert (await answer.explain({"of": {"b", "a"}})).messages[1].text == '{"of":["a","b"]}'
    assert (await answer.explain(word for word in "ab")).messages[1].text == '["a","b"]'
    for value in (Plain(), [Plain()], {"a": Plain}.get, lambda: 1):
        with pytest.raises(sy.UserError, match=r"An input holds <.* at 0x.*>, which .* Pass text, numbers"):
            await answer.explain(value)


async def test_images_are_parts_of_the_question() -> None:
    @sy.step(model=model)
    async def look(picture: sy.Image, question: str) -> str:
        """Look."""
        ...

    image = sy.Image(data="AAAA")
    messages = (await look.explain(image, "what is it?")).messages
    assert messages[1].content == (image, sy.Text("what is it?"))
    assert messages[1].text == "what is it?"


async def test_a_list_of_images_is_as_many_parts_and_an_image_among_other_things_is_refused() -> None:
    @sy.step(model=model)
    async def compare(pictures: object, question: str) -> str:
        """Compare."""
        ...

    a, b = sy.Image("AAAA"), sy.Image(url="http://127.0.0.1/b.png")
    for several in ([a, b], (a, b), [dataclasses.asdict(a), dataclasses.asdict(b)]):
        messages = (await compare.explain(several, "same?")).messages
        assert messages[1].content == (a, b, sy.Text("same?"))
    assert (await compare.explain([], "same?")).messages[1].text == "pictures: []\n\nquestion: same?"
    quoted = (await compare.explain([json.dumps(dataclasses.asdict(a))], "same?")).messages[1].text
    assert "AAAA" in quoted  # text that looks like one is text
    for deeper in ([a, "and"], {"first": a}, Page(a), [[a]], [Shot(picture=b)]):
        with pytest.raises(sy.UserError, match="The input 'pictures' holds a picture among other things"):
            await compare.explain(deeper, "same?")


async def test_a_step_without_arguments_still_has_a_question() -> None:
    @sy.step(model=model)
    async def think() -> int:
        """Think of a number."""
        ...

    messages = (await think.explain()).messages
    assert [m.role for m in messages] == ["system", "user"]
    assert '"value"' in messages[0].text


ANSWERS = st.builds(
    Answer, text=st.text(), sources=st.lists(st.integers()), inner=st.none() | st.builds(Answer, text=st.text())
)


@given(ANSWERS)
def test_every_prefix_is_read_without_error_and_the_whole_gives_the_value(value: Answer) -> None:
    output: Output[Answer] = Output(Answer, "here")
    text = output.written(value)
    for end in range(len(text)):
        partial = output.partial(text[:end])
        assert partial is None or isinstance(partial, Answer)
    assert output.partial(text) == value == output.parse(text)


@given(ANSWERS)
def test_an_answer_cut_off_is_never_read_as_one_of_its_parts(value: Answer) -> None:
    output: Output[Answer] = Output(Answer, "here")
    text = output.written(value)
    for end in range(len(text)):
        with pytest.raises(sy.OutputError, match="does not fit"):
            output.parse(f"Here it is: {text[:end]}")


@pytest.mark.parametrize(
    "text",
    [
        """{"text": "a", "inner": {"text": "b"},}""",
        """{'text': "a", "inner": {"text": "b"}}""",
        """{"text": "a", /* and */ "inner": {"text": "b"}}""",
        """{"text": 1, "inner": {"text": "b"}}""",
    ],
)
def test_a_malformed_answer_is_never_read_as_one_of_its_parts(text: str) -> None:
    with pytest.raises(sy.OutputError, match="does not fit"):
        Output(Answer, "here").parse(text)


def test_an_answer_is_found_after_brackets_that_are_no_json() -> None:
    text = 'See {x, [y] and "}"} first; then {"text": "a", "inner": {"text": "b"}}'
    assert Output(Answer, "here").parse(text) == Answer(text="a", inner=Answer(text="b"))


@pytest.mark.parametrize(
    "before", ["x lies in [0, 1), so ", "{", "Let S = {x | x > 0. Then ", "in (0, 1] and [2, 3): "]
)
def test_an_answer_is_found_after_brackets_that_never_close(before: str) -> None:
    text = '{"text": "a", "inner": {"text": "b"}}'
    assert Output(Answer, "here").parse(before + text) == Answer(text="a", inner=Answer(text="b"))


def test_an_answer_is_not_looked_for_without_end() -> None:
    text = '{"text": "a", "inner": {"text": "b"}}'
    output: Output[Answer] = Output(Answer, "here")
    assert output.parse("{x} " * 63 + text) == Answer(text="a", inner=Answer(text="b"))
    with pytest.raises(sy.OutputError, match="does not fit"):
        output.parse("{x} " * 64 + text)


@given(st.lists(st.integers() | st.text()))
def test_written_values_are_read_back(value: list[int | str]) -> None:
    output: Output[list[int | str]] = Output(list[int | str], "here")
    assert output.parse(output.written(value)) == value
    assert output.partial(output.written(value)) == value


@given(st.text())
def test_hostile_text_is_a_value_or_an_output_error(text: str) -> None:
    output: Output[Answer] = Output(Answer, "here")
    try:
        value: object = output.parse(text)
    except sy.OutputError as error:
        value = Answer(text=error.text) if error.text == text else None
    assert isinstance(value, Answer)


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (str, "so f", "so f"),
        (Literal["red", "blue"], "re", None),
        (Literal["red", "blue"], "red", "red"),
        (bool, "true", True),
        (list[Answer], '{"value": [{"text": "a"}, {"te', [Answer(text="a"), Answer.model_construct()]),
        (Answer | None, '{"value": {"text": "a', Answer(text="a")),
        (Answer | None, "null", None),
        (int, '{"val', None),
        (Point, '{"x": "a', {"x": "a"}),
        (Answer, "[}", None),
        (Answer, "{]", None),
        (dict[str, int], '{"a": 1, "b": 2', {"a": 1, "b": 2}),
    ],
)
def test_partial_values_say_what_is_there_so_far(type_: object, text: str, value: object) -> None:
    assert Output[object](type_, "here").partial(text) == value


class Year(BaseModel):
    year: int = Field(validation_alias=AliasChoices("inYear", "y"))


class Named(BaseModel):
    model_config = ConfigDict(validate_by_name=True)
    first: str = Field(alias="firstName")
    x: int = Field(0, alias="y")
    y: str = Field("", alias="x")
    born: Year | None = None
    kin: list["Named"] = []


def test_partial_values_have_fields_under_their_aliases_as_the_schema_names_them() -> None:
    output: Output[Named] = Output(Named, "here")
    text = '{"firstName": "Ann", "y": 1, "x": "b", "born": {"inYear": 1931}, "kin": [{"firstName": "Bo'
    partial = cast("Named", output.partial(text))
    assert partial == output.parse(f'{text}"}}]}}')
    assert partial.model_fields_set == {"first", "x", "y", "born", "kin"}
    assert cast("Named", output.partial('{"first": "An')).first == "An"


def test_options_are_written_by_their_text() -> None:
    output: Output[object] = Output(Literal[1, "two"], "here")
    assert [output.written(value) for value in (1, "two", "three")] == ["1", "two", "three"]
    assert output.expected == "Answer with exactly one of: 1, two."


async def test_passages_of_a_saved_example_are_shown_as_those_of_a_live_one() -> None:
    @sy.step(model=model)
    async def answer(passages: list[sy.Passage]) -> str:
        """Answer."""
        ...

    passages = [sy.Passage("one", title="First", metadata={"year": 2020}), sy.Passage("two")]
    live = answer.using(demos=[sy.Demo({"passages": passages}, "yes")])
    read = answer.using(demos=[sy.Demo({"passages": [dataclasses.asdict(each) for each in passages]}, "yes")])
    assert (await read.explain([])).messages == (await live.explain([])).messages
    other = answer.using(demos=[sy.Demo({"passages": [{"text": "one"}]}, "yes")])
    assert '[{"text":"one"}]' in str((await other.explain([])).messages)


@pytest.mark.parametrize(
    ("type_", "said", "value"),
    [
        (Literal["U.S.", "U.K."], "U.S.", "U.S."),
        (Literal["U.S.", "U.K."], '"u.k."', "U.K."),
        (Literal["U.S.", "U.K."], "**U.S**", "U.S."),
        (Literal["+", "*"], '{"value":"*"}', "*"),
        (Literal["+", "*"], "*", "*"),
        (Literal["+", "*"], "`+`", "+"),
        (Literal["+", "*"], "...", None),
        (Literal["C", "C."], "C.", "C."),
        (Literal["C", "C."], "c", "C"),
        (Literal["C", "C."], "**C.**", None),
        (Literal["a", "A", "b"], "a.", "a"),
        (Literal["a", "A", "b"], "`B`", "b"),
        (Literal["", "a"], "", ""),
        (Literal["yes ", "no"], "yes ", "yes "),
    ],
)
def test_an_option_is_read_as_it_is_before_it_is_stripped(type_: object, said: str, value: str | None) -> None:
    output: Output[object] = Output(type_, "here")
    if value is not None:
        assert output.parse(said) == value
    else:
        with pytest.raises(sy.OutputError, match="none of them"):
            output.parse(said)


def test_a_type_with_two_options_of_one_text_is_refused() -> None:
    one = enum.Enum("one", {"NUMBER": 1, "TEXT": "1"})
    for type_ in (Literal[1, "1"], one):
        with pytest.raises(sy.UserError, match=r"here returns .*two of whose options are one text"):
            Output(type_, "here")


def test_a_type_without_a_json_schema_is_refused_where_it_is_asked_for() -> None:
    output: Output[object] = Output(Callable[[], int], "Step 'make' (a.py:3)")
    with pytest.raises(sy.UserError, match=r"Step 'make' \(a.py:3\) returns .*which has no JSON schema"):
        _ = output.expected


class Colour(str, enum.Enum):  # noqa: UP042 - as many have it
    RED = "red"
    BLUE = "blue"


class Net(BaseModel):
    model_config = ConfigDict(extra="forbid")
    net: int = Field(alias="Net")

    @computed_field
    def gross(self) -> int:
        return 2 * self.net


class Aged(BaseModel):
    age: int = Field(validation_alias=AliasChoices("Age", "years"))
    size: float = Field(1e22, validation_alias="in_size", serialization_alias="out_size")


class Aging(BaseModel):
    rows: list[Aged] = Field(serialization_alias="out")
    by_name: dict[str, tuple[Aged, int]] = {}


def test_an_example_calls_its_fields_as_its_schema_does() -> None:
    aged = Aged.model_validate({"Age": 1})
    for type_, value, text in (
        (Aged, aged, '{"Age":1,"in_size":1e+22}'),
        (list[Aged], [aged], '{"value":[{"Age":1,"in_size":1e+22}]}'),
        (
            Aging,
            Aging(rows=[aged], by_name={"age": (aged, 2)}),
            '{"rows":[{"Age":1,"in_size":1e+22}],"by_name":{"age":[{"Age":1,"in_size":1e+22},2]}}',
        ),
    ):
        output: Output[Any] = Output(type_, "here")
        assert (output.written(value), output.parse(output.written(value))) == (text, value)


def test_an_example_is_an_answer_that_its_own_type_reads() -> None:
    colour: Output[Any] = Output(Colour, "here")
    assert [colour.written(value) for value in (Colour.RED, "red")] == ["red", "red"]
    net: Output[Any] = Output(Net, "here")
    assert net.written(Net(Net=1)) == '{"Net":1}'
    assert net.parse(net.written(Net(Net=1))) == Net(Net=1)
