"""A step is a typed function that a model answers."""

import dataclasses
import enum
import pickle
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal, ParamSpec, TypeVar

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

import synthon as sy

P = ParamSpec("P")
T = TypeVar("T")


def scripted(*answers: str) -> tuple[sy.FunctionModel, list[sy.Request]]:
    seen: list[sy.Request] = []

    def function(request: sy.Request) -> str:
        seen.append(request)
        return answers[min(len(seen), len(answers)) - 1]

    return sy.FunctionModel(function), seen


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Person(TypedDict):
    name: str
    age: int


class Ticket(BaseModel):
    intent: Literal["card", "refund"]
    urgent: bool = False


@sy.step
async def at_module_level(question: str) -> str:
    """Answer."""
    ...


CASES: list[tuple[object, str, object]] = [
    (str, " as it came\n", " as it came\n"),
    (int, '{"value": 3}', 3),
    (int, "The answer is 42? No: {'value'} hm. [1] {\"value\":7}", 7),
    (float, "2.5", 2.5),
    (bool, "True.", True),
    (Literal["card", "refund"], '"Refund"', "refund"),
    (Literal[1, 2], "2", 2),
    (Color, "blue", Color.BLUE),
    (Color, '{"value": "red"}', Color.RED),
    (Point, 'Here:\n```json\n{"x": 1, "y": 2}\n```', Point(1, 2)),
    (Person, '{"name": "Ada", "age": "36"}', {"name": "Ada", "age": 36}),
    (Ticket, '{"intent": "card", "urgent": true}', Ticket(intent="card", urgent=True)),
    (list[Ticket], '[{"intent": "card"}]', [Ticket(intent="card")]),
    (Ticket | None, "null", None),
    (Ticket | None, '{"value": {"intent": "refund"}}', Ticket(intent="refund")),
    (dict[str, list[int]], '{"a": [1, 2]}', {"a": [1, 2]}),
    (tuple[int, str], '{"value": [1, "b"]}', (1, "b")),
]


@pytest.mark.parametrize(("type_", "said", "value"), CASES)
async def test_a_step_returns_its_type_whatever_the_model_wraps_around_it(
    type_: object, said: str, value: object
) -> None:
    model, _ = scripted(said)

    async def find(text: str) -> object:
        """Find it."""
        ...

    find.__annotations__["return"] = type_
    assert await sy.step(model=model)(find)("...") == value


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        (int, "no number"),
        (int, '{"value": 1.5}'),
        (Literal["card", "refund"], "card or refund"),
        (Ticket, '{"intent": "car'),
        (Ticket, '{"urgent": true}'),
        (Ticket, "{" * 100_000),
        (list[int], '["\ud800"]'),
        (Point, ""),
        (Person, '{"name": "Ada"} and {"age": 3}'),
    ],
)
async def test_a_completion_that_never_fits_is_an_output_error_and_never_half_parsed(type_: object, said: str) -> None:
    model, seen = scripted(said)

    async def find(text: str) -> object:
        """Find it."""
        ...

    find.__annotations__["return"] = type_
    with pytest.raises(sy.OutputError, match="does not fit") as caught:
        await sy.step(model=model, retries=1)(find)("...")
    assert caught.value.text == said
    assert len(seen) == 2


async def test_a_failed_answer_goes_back_with_what_is_wrong_and_the_model_is_asked_again() -> None:
    model, seen = scripted("urgent!", '{"intent": "card"}')

    @sy.step(model=model)
    async def route(message: str) -> Ticket:
        """Decide."""
        ...

    assert await route("hi") == Ticket(intent="card")
    assert [message.role for message in seen[1].messages] == ["system", "user", "assistant", "user"]
    assert seen[1].messages[2].text == "urgent!"
    assert "holds no JSON" in seen[1].messages[3].text or "Invalid JSON" in seen[1].messages[3].text


async def test_checks_feed_back_and_fail_after_their_retries() -> None:
    model, seen = scripted("too long an answer", "short", "fine")

    @sy.step(model=model)
    async def say(topic: str, limit: int) -> str:
        """Say it."""
        ...

    @say.check
    def brief(output: str, limit: int) -> str | None:
        return None if len(output) <= limit else f"at most {limit} characters"

    assert await say("x", 10) == "short"
    assert "at most 10 characters" in seen[1].messages[-1].text
    with pytest.raises(sy.CheckFailed, match="'brief' after 1 retries: at most 1 characters") as caught:
        await say("x", limit=1)
    assert (caught.value.check, caught.value.output) == ("brief", "fine")


async def test_several_checks_have_their_own_retries_and_may_be_async() -> None:
    model, seen = scripted("a", "b", "c", "good")

    @sy.step(model=model)
    async def say(topic: str) -> str:
        """Say it."""
        ...

    @say.check(retries=2)
    async def not_a_or_b(output: str) -> str | None:
        return f"not {output}" if output in {"a", "b"} else None

    @say.check(retries=1)
    def not_c(output: str) -> str | None:
        return "not c" if output == "c" else None

    assert await say("x") == "good"
    assert len(seen) == 4


async def test_a_check_of_an_unknown_input_is_refused_at_once() -> None:
    with pytest.raises(sy.UserError, match="which are no inputs of the step"):

        @at_module_level.check
        def wrong(output: str, missing: str) -> str | None:
            return None


class Scorer:
    """Scores options by how often they stand in the question; longer ones over more tokens."""

    name = "scorer"
    identity = "scorer"
    capabilities: frozenset[sy.Capability] = frozenset({"chat", "score"})

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        question = request.messages[-1].text
        scores = tuple(sy.Score(float(question.count(text)), 1) for text in request.continuations)
        return sy.Completion(scores=scores)


async def test_a_closed_set_is_chosen_by_score_where_the_model_can_score() -> None:
    @sy.step(model=Scorer())
    async def color(text: str) -> Color:
        """Which color?"""
        ...

    assert await color("blue, blue, red") is Color.BLUE
    async with color.stream("red") as stream:
        assert [delta.text async for delta in stream] == ["red"]
        assert await stream.result() is Color.RED


async def test_a_check_on_a_scored_choice_sends_the_choice_back() -> None:
    @sy.step(model=Scorer())
    async def color(text: str) -> Color:
        """Which color?"""
        ...

    @color.check
    def not_blue(output: Color) -> str | None:
        return "it is never blue but red red red" if output is Color.BLUE else None

    assert await color("blue blue") is Color.RED


async def test_a_model_with_schemas_is_given_the_type_as_a_constraint() -> None:
    seen: list[sy.Request] = []

    def function(request: sy.Request) -> str:
        seen.append(request)
        return '{"value": 3}'

    model = sy.FunctionModel(function, capabilities=frozenset({"chat", "schema"}))

    @sy.step(model=model)
    async def count(text: str) -> int:
        """Count."""
        ...

    assert await count("abc") == 3
    constraint = seen[0].constraint
    assert isinstance(constraint, sy.Schema)
    assert '"required":["value"]' in constraint.json


async def test_arguments_bind_as_pythons_do() -> None:
    model, seen = scripted("x")

    @sy.step(model=model)
    async def say(a: str, b: int = 2, *, c: str = "three") -> str:
        """Say it."""
        ...

    await say("1")
    await say("1", 5, c="6")
    await say(b=7, a="8")
    await say(c="9", b=1, a="0")
    assert [request.messages[1].text for request in seen] == [
        "a: 1\n\nb: 2\n\nc: three",
        "a: 1\n\nb: 5\n\nc: 6",
        "a: 8\n\nb: 7\n\nc: three",
        "a: 0\n\nb: 1\n\nc: 9",
    ]
    with pytest.raises(TypeError, match="too many positional arguments"):
        await say("1", 2, "3")  # type: ignore[call-arg]  # the mistake under test
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        await say(b=1)  # type: ignore[call-arg]  # the mistake under test
    with pytest.raises(TypeError, match="unexpected keyword argument 'd'"):
        await say("1", 2, d=1)  # type: ignore[call-arg]  # the mistake under test


async def test_a_conversation_comes_between_the_instruction_and_the_question() -> None:
    model, seen = scripted("x")

    @sy.step(model=model)
    async def reply(question: str, history: list[sy.Message]) -> str:
        """Reply."""
        ...

    @sy.step(model=model)
    async def go_on(history: Sequence[sy.Message]) -> str:
        """Go on."""
        ...

    talk = [sy.Message("user", "hi"), sy.Message("assistant", "hello")]
    await reply("how are you?", talk)
    await go_on([*talk, sy.Message("user", "and?")])
    assert [m.text for m in seen[0].messages] == ["Reply.", "hi", "hello", "how are you?"]
    assert [m.text for m in seen[1].messages] == ["Go on.", "hi", "hello", "and?"]


async def test_explain_returns_the_messages_that_are_sent() -> None:
    model, seen = scripted('{"intent": "card"}')

    @sy.step(model=model, demos=[sy.Demo({"message": "my card"}, Ticket(intent="card"))])
    async def route(message: str) -> Ticket:
        """Decide."""
        ...

    messages = (await route.using(instruction="Choose.").explain("hi")).messages
    assert messages[0].text.startswith("Choose.")
    assert messages[2].text == '{"intent":"card","urgent":false}'
    await route.using(instruction="Choose.")("hi")
    assert list(seen[0].messages) == messages


async def test_sampling_parameters_reach_the_request() -> None:
    model, seen = scripted("x")

    @sy.step(model=model, temperature=0.5, max_tokens=9, top_p=0.9, seed=3, stop=["."], extra={"mirostat": 2})
    async def say(topic: str) -> str:
        """Say it."""
        ...

    await say("x")
    await say.using(temperature=0.0, stop=[";"])("x")
    await say.using(stop="END")("x")
    first, second, third = seen
    assert (first.temperature, first.max_tokens, first.top_p, first.seed) == (0.5, 9, 0.9, 3)
    assert (first.stop, first.extra) == ((".",), '{"mirostat":2}')
    assert (second.temperature, second.stop, third.stop) == (0.0, (";",), ("END",))


async def test_rendering_is_replaceable() -> None:
    model, seen = scripted("x")

    def shouted(rendering: sy.Rendering) -> list[sy.Message]:
        return [sy.Message("user", f"{rendering.instruction} {rendering.inputs}".upper())]

    @sy.step(model=model, render=shouted)
    async def say(topic: str) -> str:
        """Say it."""
        ...

    await say("x")
    assert [m.text for m in seen[0].messages] == ["SAY IT. {'TOPIC': 'X'}"]


async def test_a_step_without_a_model_says_how_to_give_it_one() -> None:
    with pytest.raises(sy.UserError, match="'at_module_level' has no model"):
        await at_module_level("hi")
    model, _ = scripted("yes")
    assert await at_module_level.using(model=model)("hi") == "yes"


async def test_a_strategy_takes_the_step_and_is_called_in_its_place() -> None:
    model, seen = scripted("a", "b", "c")

    @dataclasses.dataclass(frozen=True)
    class Longest:
        n: int

        def __call__(self, step: sy.Step[P, T], /) -> Callable[P, Awaitable[T]]:
            async def run(*args: P.args, **kwargs: P.kwargs) -> T:
                return max([await step(*args, **kwargs) for _ in range(sy.current(self.n))], key=str)

            return run

    @sy.step(model=model, strategy=Longest(sy.knob(3, 1)))
    async def say(topic: str) -> str:
        """Say it."""
        ...

    assert await say("x") == "c"
    assert len(seen) == 3
    assert "say.strategy.n" in say.parts().knobs


def test_steps_work_from_ordinary_code_and_when_pickled() -> None:
    model, _ = scripted("yes")
    assert at_module_level.using(model=model).sync("hi") == "yes"
    copy = pickle.loads(pickle.dumps(at_module_level.using(instruction="Say no.", temperature=0.5)))  # noqa: S301 - our own
    assert copy.fn is at_module_level.fn
    assert copy.settings == at_module_level.using(instruction="Say no.", temperature=0.5).settings
    assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level  # noqa: S301 - our own


def _bad_steps() -> list[tuple[str, Callable[..., object]]]:
    def plain(x: str) -> str:
        """Say."""
        raise NotImplementedError

    async def undocumented(x: str) -> str: ...

    async def untyped(x: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the mistake under test
        """Say."""

    async def computing(x: str) -> str:
        """Say."""
        return x.upper()

    async def constant(x: str) -> int:
        """Say."""
        return 5

    async def echoing(x: str) -> str:
        """Say."""
        return x

    async def variadic(*x: str) -> str:
        """Say."""
        ...

    async def method(self: object, x: str) -> str:
        """Say."""
        ...

    return [
        ("it is no async function", plain),
        ("it has no docstring", undocumented),
        ("it has no return annotation", untyped),
        ("it has a body", computing),
        ("it has a body", constant),
        ("it has a body", echoing),
        ("it takes \\*args", variadic),
        ("it is a method", method),
        ("it is no async function", lambda x: x),
    ]


@pytest.mark.parametrize(("why", "fn"), _bad_steps())
def test_what_cannot_be_a_step_is_refused_where_it_stands(why: str, fn: Callable[..., object]) -> None:
    with pytest.raises(sy.UserError, match=f"test_step.py:[0-9]+\\): {why}"):
        sy.step(fn)  # type: ignore[arg-type]  # the mistake under test


def test_the_three_ways_to_write_an_empty_body_are_accepted() -> None:
    @sy.step
    async def dots(x: str) -> str:
        """Say."""
        ...

    @sy.step
    async def raises(x: str) -> str:
        """Say."""
        raise NotImplementedError

    @sy.step
    async def docstring(x: str) -> str:
        """Say."""

    assert [step.name for step in (dots, raises, docstring)] == ["dots", "raises", "docstring"]


async def test_annotations_as_text_resolve_with_the_callers_locals() -> None:
    class Local(BaseModel):
        n: int

    model, _ = scripted('{"n": 1}')

    @sy.step(model=model)
    async def find(text: "str") -> "Local":
        """Find."""
        ...

    assert await find("x") == Local(n=1)

    @sy.step(model=model)
    async def lost(text: str) -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821 - the mistake under test
        """Find."""
        ...

    with pytest.raises(sy.UserError, match="annotation that cannot be resolved: name 'Nowhere'"):
        await lost("x")


async def test_a_type_without_a_schema_is_refused_with_the_place_of_the_step() -> None:
    model, _ = scripted("x")

    @sy.step(model=model)
    async def find(text: str) -> pytest.Item:
        """Find."""
        ...

    with pytest.raises(sy.UserError, match=r"Step 'find' \(.*test_step.py:[0-9]+\) returns"):
        await find("x")


async def test_bounds_in_an_annotation_are_held_and_words_are_not() -> None:
    @sy.step(retries=0)
    async def short(text: str) -> Annotated[list[str], Field(max_length=2)]:
        """List."""
        ...

    @sy.step
    async def told(text: str) -> Annotated[str, "in words"]:
        """Tell."""
        ...

    @sy.step
    async def sorted_(text: str) -> Annotated[Literal["card", "refund"], "the intent"]:
        """Sort."""
        ...

    assert (await short.explain("x")).messages[0].text.count('"maxItems":2') == 1
    three = sy.FunctionModel(lambda _: '{"value": ["a", "b", "c"]}')
    with pytest.raises(sy.OutputError, match="at most 2 items"):
        await short.using(model=three)("x")
    assert await told.using(model=sy.FunctionModel(lambda _: "plain"))("x") == "plain"
    assert await sorted_.using(model=sy.FunctionModel(lambda _: "Card"))("x") == "card"
