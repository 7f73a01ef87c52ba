"""One tree of errors, one list of names, seams that plain classes fit."""

import inspect
import pickle
import re
from typing import Literal

import pytest
from pydantic import BaseModel, Field

import synthon as sy
from synthon.core import errors, protocols
from tests.core.counting import Counting


def tree(kind: type[BaseException], depth: int = 0) -> list[tuple[str, int]]:
    below = [
        name
        for child in kind.__subclasses__()
        if child.__module__ == errors.__name__
        for name in tree(child, depth + 1)
    ]
    return [(kind.__name__, depth), *below]


def test_the_tree_is_as_drawn_at_the_top_of_its_file() -> None:
    drawn = []
    for line in (errors.__doc__ or "").splitlines()[2:]:
        found = re.match(r"(?P<branch>[│ ├└─]*)(?P<name>[A-Z]\w+)", line)
        assert found
        drawn.append((found["name"], len(found["branch"]) // 4))
    assert sorted(drawn) == sorted(tree(sy.SynthonError))


def test_every_error_is_a_public_name() -> None:
    assert {name for name, _ in tree(sy.SynthonError)} <= set(sy.__all__)


def test_errors_carry_what_failed() -> None:
    failure = sy.ProviderError("no", status=503, retry_after_s=2.5, request_id="x", attempts=3, retryable=False)
    assert (str(failure), failure.status, failure.retry_after_s, failure.request_id) == ("no", 503, 2.5, "x")
    assert (failure.attempts, failure.retryable) == (3, False)
    assert (failure.billable, sy.ProviderError("cut", billable=1).billable) == (0, 1)
    assert sy.ProviderTimeout("late", attempts=3).billable == 3
    long = sy.ContextTooLong("long", tokens=9000, limit=8192)
    assert (long.tokens, long.limit, long.retryable) == (9000, 8192, False)
    output = sy.OutputError("odd", text="t", expected="int")
    assert (output.text, output.expected) == ("t", "int")
    check = sy.CheckFailed("bad", check="cites", output=[1])
    assert (check.check, check.output) == ("cites", [1])
    guard = sy.GuardBlocked("stop", guard="keys", evidence="sk-")
    assert (guard.guard, guard.evidence) == ("keys", "sk-")
    tool = sy.ToolFailed("broken", tool="weather")
    assert (str(tool), tool.tool) == ("broken", "weather")
    loop = sy.LoopDetected("again", period=2)
    assert (str(loop), loop.period) == ("again", 2)
    budget = sy.BudgetExceeded("over", spent="1 calls", limit="calls=1")
    assert (budget.spent, budget.limit) == ("1 calls", "calls=1")


@pytest.mark.parametrize(
    "error",
    [
        sy.UserError("wrong"),
        sy.ContextTooLong("long", tokens=9000, limit=8192),
        sy.CheckFailed("bad", check="cites", output=[1]),
        sy.GuardBlocked("stop", guard="keys", evidence="sk-"),
        sy.ToolFailed("broken", tool="weather"),
        sy.LoopDetected("again", period=2),
        sy.BudgetExceeded("over", spent="1 calls", limit="calls=1"),
    ],
)
def test_errors_come_back_from_another_process(error: sy.SynthonError) -> None:
    error.add_note("in row 3")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("kind", [sy.TooManyRequests, sy.ProviderTimeout, sy.ContextTooLong])
def test_a_providers_failures_are_one_family(kind: type[sy.ProviderError]) -> None:
    with pytest.raises(sy.ProviderError, match="x"):
        raise kind("x")


def test_a_seam_is_one_method_and_read_only_facts() -> None:
    for seam, methods in {
        protocols.Model: {"complete"},
        protocols.Embedder: {"embed"},
        protocols.Retriever: {"search"},
        protocols.Tool: {"call"},
    }.items():
        own = {name for name, value in vars(seam).items() if inspect.isfunction(value) and not name.startswith("_")}
        assert own == methods
        assert all(value.fset is None for value in vars(seam).values() if isinstance(value, property)), (
            "else frozen dataclasses do not fit"
        )


def test_values_are_equal_by_what_they_hold_and_can_be_keys() -> None:
    assert {sy.Text("a"), sy.Text("a"), sy.Image("a")} == {sy.Image("a"), sy.Text("a")}
    others: list[object] = [sy.Reasoning("a"), "a"]
    assert sy.Text("a") not in others
    assert repr(sy.Score(-1.0, 2)) == "Score(logprob=-1.0, tokens=2, parts=())"


def test_nobody_listens_to_discard() -> None:
    assert sy.discard.retractable
    sy.discard(sy.Delta(text="x"))


def test_plain_classes_are_models() -> None:
    model: sy.Model = Counting()
    also: sy.Model = sy.FunctionModel(lambda _: "x")
    assert {model.name, also.name} == {"counting", "function"}


def test_messages_and_completions_say_their_text() -> None:
    parts = (sy.Text("a"), sy.Image(url="u"), sy.Text("b"), sy.ToolCall("1", "n", "{}"))
    assert sy.Message("user", parts).text == "ab"
    assert sy.Message("user", "plain").text == "plain"
    assert sy.Completion("plain").message == sy.Message("assistant", "plain")
    call, thought = sy.ToolCall("1", "n", "{}"), sy.Reasoning("hm")
    whole = sy.Completion("said", tool_calls=(call,), reasoning=(thought,))
    assert whole.message == sy.Message("assistant", (thought, sy.Text("said"), call))
    assert sy.Completion(tool_calls=(call,)).message == sy.Message("assistant", (call,))


def test_usage_adds_up_and_costs_by_its_parts() -> None:
    one, two = sy.Usage(1, 2, 3, 4, 1, 0.5), sy.Usage(10, 20, 30, 40, 5)
    assert one + two == sy.Usage(11, 22, 33, 44, 6, 0.5, 2)
    assert (two + two).cost_usd is None
    assert one.tokens == 10
    assert sy.Price(1e6, 2e6).cost_usd(one) == 1 + 2 + 3 + 8
    assert sy.Price(1e6, 2e6, 0.0, 3e6).cost_usd(one) == 1 + 0 + 9 + 8


class Order(BaseModel):
    number: int
    lines: list[str] = Field(description="as they stand in the mail, " * 40)


async def test_an_answer_that_a_filter_left_nothing_of_is_no_empty_text() -> None:
    @sy.step
    async def say(topic: str) -> str:
        """Say it."""
        ...

    async def answered(text: str, finish: Literal["stop", "content_filter"]) -> str:
        return await say.using(model=sy.FunctionModel(lambda _: sy.Completion(text, finish=finish)))("x")

    with pytest.raises(sy.OutputError, match="the provider's content filter left nothing of it"):
        await answered("", "content_filter")
    assert await answered("I will not.", "content_filter") == "I will not."  # a refusal in words
    assert await answered("", "stop") == ""


async def test_an_answer_that_was_cut_off_says_what_to_raise_and_not_the_whole_schema() -> None:
    cut = sy.FunctionModel(lambda _: sy.Completion('{"number": 7, "lines": ["on', finish="length"))

    @sy.step(model=cut, max_tokens=12)
    async def order(mail: str) -> Order:
        """Extract the order."""
        ...

    with pytest.raises(sy.OutputError, match=r"^Cut off .*max_tokens=12.*: raise it\. The model answered") as caught:
        await order("...")
    assert "as they stand" in caught.value.expected
    assert len(str(caught.value)) < 700
    whole = sy.FunctionModel(lambda _: '{"number": 7}')
    with pytest.raises(sy.OutputError, match=r"^The model answered .*lines: Field required") as caught:
        await order.using(model=whole)("...")
    assert len(str(caught.value)) < 700
