"""Sessions: what is sent at each hole, what branches share, what streams, and what is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.models.selecting import select
from synthon.models.sessions import Session, session
from synthon.wrappers.decoders import beam
from tests.models.loopback import Reply, answering

if TYPE_CHECKING:
    from collections.abc import Callable

ALL: frozenset[sy.Capability] = frozenset({"chat", "fork", "grammar", "score"})
SCORES = {" red": sy.Score(-1.0, 1), " blue": sy.Score(-3.0, 2)}


class Scripted:
    """A model that says given words in turn, scores by a table, and remembers what it was asked."""

    def __init__(self, *words: str, capabilities: frozenset[Any] = ALL, name: str = "scripted") -> None:
        self.words, self.asked = list(words), list[sy.Request]()
        self.model = sy.FunctionModel(self.answer, name=name, capabilities=capabilities)

    async def answer(self, request: sy.Request) -> sy.Completion:
        self.asked.append(request)
        await asyncio.sleep(0)
        if request.continuations:
            return sy.Completion(scores=tuple(SCORES[text] for text in request.continuations))
        return sy.Completion(self.words.pop(0))

    @property
    def last(self) -> list[tuple[str, str]]:
        return [(message.role, message.text) for message in self.asked[-1].messages]


async def test_each_hole_is_asked_for_with_all_that_was_said_before() -> None:
    scripted = Scripted("Ann", "30")
    async with session(scripted.model, system="Be brief.") as s:
        s.text("Describe ")
        s.text("a person.")
        s.assistant("Name: ")
        assert await s.gen("name", max_tokens=4, stop="\n", temperature=0.5, top_p=0.9) == "Ann"
        assert scripted.last == [("system", "Be brief."), ("user", "Describe a person."), ("assistant", "Name: ")]
        first = scripted.asked[0]
        assert (first.max_tokens, first.stop, first.temperature, first.top_p) == (4, ("\n",), 0.5, 0.9)
        s.text(", age ")
        await s.gen("age")
        assert scripted.last[-1] == ("assistant", "Name: Ann, age ")
        s.user("Sure?")
        assert s["name"] + s["age"] == "Ann30"
        assert [message.text for message in s.messages][2:] == ["Name: Ann, age 30", "Sure?"]
    assert s.values == {"name": "Ann", "age": "30"}


async def test_a_turn_begun_with_nothing_is_left_for_the_answer() -> None:
    scripted = Scripted("Hi", capabilities=frozenset({"chat"}))
    async with session(scripted.model, system="Be") as s:
        s.system(" kind.")
        s.user("Hello")
        s.assistant()
        await s.gen("greeting")
    assert scripted.last == [("system", "Be kind."), ("user", "Hello")]


async def test_a_hole_in_mid_turn_is_refused_where_the_model_cannot_go_on() -> None:
    scripted = Scripted("never", capabilities=frozenset({"chat", "score"}))
    async with session(scripted.model) as s:
        s.user("Name?")
        s.assistant("Name: ")
        with pytest.raises(sy.Unsupported, match="cannot go on with the beginning of its own turn"):
            await s.gen("name")
        with pytest.raises(sy.Unsupported, match="cannot go on"):
            await s.select("name", [" red"])
    assert scripted.asked == []


@pytest.mark.parametrize(
    ("server", "fields"),
    [
        ("vllm", {"continue_final_message": True, "add_generation_prompt": False}),
        ("sglang", {"continue_final_message": True}),
        ("llama.cpp", {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
async def test_servers_are_told_to_go_on_with_the_turn(server: Any, fields: dict[str, bool]) -> None:
    said = {"choices": [{"message": {"content": "Ann"}, "finish_reason": "stop"}]}
    async with (
        answering(Reply(said)) as loopback,
        session(sy.openai("m", base_url=loopback.url, server=server)) as s,
    ):
        s.user("Name?")
        await s.gen("first")
        s.text(" Mc")
        await s.gen("second")
    first, second = (received.body for received in loopback.received)
    assert not {"continue_final_message", "add_generation_prompt"} & first.keys()
    assert fields.items() <= second.items()
    assert second["messages"][-1] == {"role": "assistant", "content": "Ann Mc"}


@pytest.mark.parametrize("make", [sy.openai, sy.anthropic])
async def test_endpoints_that_would_begin_a_new_turn_refuse_the_request_itself(make: Callable[..., sy.Model]) -> None:
    begun = sy.Request((sy.Message("user", "Name?"), sy.Message("assistant", "Mc")))
    async with answering(Reply({})) as loopback:
        with pytest.raises(sy.Unsupported, match="lack 'fork'"):
            await make("m", base_url=loopback.url).complete(begun)
        assert loopback.received == []


async def test_anthropic_takes_a_beginning_where_it_is_declared() -> None:
    said = {"content": [{"type": "text", "text": "Ann"}], "stop_reason": "end_turn"}
    begun = sy.Request((sy.Message("user", "Name?"), sy.Message("assistant", "Mc")))
    async with answering(Reply(said)) as loopback:
        model = sy.anthropic("claude-haiku-4-5", base_url=loopback.url, capabilities={"chat", "fork"})
        assert (await model.complete(begun)).text == "Ann"
    assert loopback.received[0].body["messages"][-1]["role"] == "assistant"


async def test_an_option_is_selected_scored_and_weighed() -> None:
    scripted = Scripted()
    async with session(scripted.model) as s:
        s.text("Colour?")
        assert await s.score([" red", " blue"]) == tuple(SCORES.values())
        weights = await s.distribution([" red", " blue"])
        assert weights[" red"] == pytest.approx(1 / (1 + 2.718281828**-2))
        assert s.messages == (sy.Message("user", "Colour?"),)
        assert await s.select("colour", [" red", " blue"]) == s["colour"] == " red"
        assert s.messages[-1] == sy.Message("assistant", " red")


async def test_branches_share_what_was_said_and_run_together() -> None:
    meeting = asyncio.Barrier(3)

    async def answer(request: sy.Request) -> str:
        async with asyncio.timeout(5):
            await meeting.wait()
        return f"<{request.messages[-1].text}>"

    async def tell(branch: Session, topic: str) -> None:
        branch.user(topic)
        await branch.gen("tip")
        if topic != "b":
            branch.text("!")
            branch._values["extra"] = topic  # noqa: SLF001 - as another hole would

    async with session(sy.FunctionModel(answer, capabilities=ALL)) as s:
        s._values["before"] = "kept"  # noqa: SLF001 - same
        s.user("Tips: ")
        branches = s.fork(3)
        await asyncio.gather(*map(tell, branches, "abc"))
        assert [branch["before"] for branch in branches] == ["kept"] * 3
        assert s.messages == (sy.Message("user", "Tips: "),)
        joined = s.join(branches)
        assert joined == {"tip": ["<Tips: a>", "<Tips: b>", "<Tips: c>"], "extra": ["a", "c"]}
        assert s.values == {"before": "kept"}
        with pytest.raises(sy.UserError, match="not open"):
            branches[0].text("more")
        s.text("done")


async def test_branches_of_branches_end_with_the_session() -> None:
    async with session(Scripted("a").model) as s:
        (inner,) = s.fork(1)[0].fork(1)
        inner.text("Say a.")
        await inner.gen("a")
    with pytest.raises(sy.UserError, match="not open"):
        inner.text("late")
    assert inner["a"] == "a"


@pytest.mark.parametrize("n", [-1, 1.5, "2"])
async def test_a_number_of_branches_that_is_none_is_refused(n: Any) -> None:
    async with session(Scripted("a").model) as s:
        with pytest.raises(sy.UserError, match="cannot fork"):
            s.fork(n)


@pytest.mark.parametrize("said", [None, 5, b"Oslo", ["Oslo"]])
async def test_what_is_no_text_is_refused_and_nothing_is_lost(said: Any) -> None:
    async with session(Scripted("a").model, system="Be brief.") as s:
        s.user("I live in Oslo.")
        before = s.messages
        for say in (s.text, s.user, s.system, s.assistant):
            with pytest.raises(sy.UserError, match=r"'session' cannot say .*, which is no text"):
                say(said)
        assert s.messages == before


async def test_a_session_outside_of_its_block_is_refused() -> None:
    s = session(Scripted("a").model)
    with pytest.raises(sy.UserError, match="not open"):
        s.text("early")
    async with s:
        s.text("Say a.")
        with pytest.raises(sy.UserError, match=r"has no 'a'\. It has none"):
            s["a"]
    for use in (s.gen("a"), s.select("a", ["b"]), s.score(["b"]), s.distribution(["b"])):
        with pytest.raises(sy.UserError, match="not open"):
            await use
    with pytest.raises(sy.UserError, match="not open"):
        s.fork(2)


@pytest.mark.parametrize("wanted", ["[a-z]+", ["red", "blue"], 5])
@pytest.mark.parametrize("wrap", [sy.Journaled, lambda model: model])
async def test_what_is_no_constraint_or_decoder_is_refused(wrap: Callable[[sy.Model], sy.Model], wanted: Any) -> None:
    scripted = Scripted("red")
    async with session(wrap(scripted.model)) as s:
        s.text("Which?")
        with pytest.raises(sy.UserError, match=r"is no constraint\. Pass sy\.regex"):
            await s.gen("colour", constraint=wanted)
        with pytest.raises(sy.UserError, match=r"'colour' in the session 'session' has decoder=.*sy\.beam"):
            await s.gen("colour", decoder=wanted)
        assert not s.values
    assert scripted.asked == []


async def test_what_is_no_model_is_refused() -> None:
    nobody: Any = "smollm2-135m"
    with pytest.raises(sy.UserError, match=r"'session' has 'smollm2-135m' for a model\. Pass one: sy\.local"):
        async with session(nobody):
            pass


async def test_two_holes_at_once_are_refused() -> None:
    async with session(Scripted("a", "b").model) as s:
        s.text("Say a.")
        with pytest.raises(sy.UserError, match=r"filling a hole.*s\.fork"):
            await asyncio.gather(s.gen("a"), s.gen("b"))


async def test_text_that_does_not_keep_to_its_constraint_is_no_value() -> None:
    unmet = sy.FunctionModel(
        lambda _: sy.Completion("12x", unmet="It is no number.", finish="length"), capabilities=ALL
    )
    heard: list[sy.Delta] = []

    @sy.program
    async def ask() -> str:
        async with session(unmet) as s:
            s.text("Number?")
            with pytest.raises(sy.OutputError, match=r"'n' in the session 'session'.*It is no number.*'length'"):
                await s.gen("n", constraint=sy.Regex("[0-9]+"))
            return ",".join(s.values)

    async with ask.stream() as stream:
        heard += [delta async for delta in stream]
        assert await stream.result() == ""
    assert [delta.text for delta in heard if not delta.reset] == ["12x"]
    assert heard[-1].reset


async def test_what_streamed_of_a_hole_that_failed_is_taken_back() -> None:
    class Breaking:
        name, identity, capabilities = "breaking", "breaking", ALL

        async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
            emit(sy.Delta("half an ans"))
            raise sy.ProviderError("cut")

    whole = Scripted("whole").model

    @sy.program
    async def ask() -> str:
        async with session(Breaking()) as s:
            s.text("Well?")
            with pytest.raises(sy.ProviderError, match="cut"):
                await s.gen("answer")
            (branch,) = s.fork(1)
        async with session(whole) as s:
            s.text(branch.messages[0].text)
            return await s.gen("answer")

    async with ask.stream() as stream:
        assert await left_of(stream) == ["", "whole"]


async def test_the_program_gives_the_model_and_knobs_are_turned() -> None:
    small, large = Scripted("s", name="small"), Scripted("l", "l", name="large")
    choice = sy.one_of(small.model, large.model)

    @sy.program
    async def bare() -> str:
        async with session() as s:
            s.text("Size?")
            return await s.gen("size")

    @sy.program
    async def turned() -> str:
        async with session(choice) as s:
            s.text("Size?")
            return await s.gen("size")

    assert await bare.using(model=large.model)() == "l"
    (knob,) = turned.parts().knobs
    assert await turned.using({knob: large.model})() == "l"
    assert await turned() == "s"
    with pytest.raises(sy.UserError, match=r"'session' has no model.*\.using"):
        await bare()


async def test_a_session_is_one_span_and_every_hole_a_journaled_call() -> None:
    journal = sy.MemoryJournal()
    scripted = Scripted("Ann", "30")
    model = sy.Journaled(scripted.model)

    @sy.program
    async def person() -> str:
        async with session(model, name="person sheet") as s:
            s.text("Describe a person.")
            name = await s.gen("name")
            s.text(", ")
            return name + await s.gen("age")

    first = await sy.run(person, run_id="r", journal=journal)
    again = await sy.run(person, run_id="r", journal=journal, policy="replay_only")
    assert (first, again, len(scripted.asked)) == ("Ann30", "Ann30", 2)
    spans = [record for record in journal.records if isinstance(record, sy.Span) and record.kind == "span"]
    calls = [record.span for record in journal.records if isinstance(record, sy.CallRecord)]
    assert [one.name for one in spans] == ["person sheet"] * len(spans)
    assert spans[0].output == '{"name":"Ann","age":"30"}'
    assert {call.parent for call in calls} == {spans[0].id}


async def left_of(stream: sy.Stream[Any]) -> list[str]:
    """What is left of each piece after its last reset, in order."""
    texts: dict[str, str] = {}
    async for delta in stream:
        texts[delta.span] = "" if delta.reset else texts.get(delta.span, "") + delta.text
    return list(texts.values())


@given(
    pieces=st.lists(st.tuples(st.sampled_from(["text", "gen", "select", "user"]), st.text("ab ", min_size=1))),
    retractable=st.booleans(),
    policy=st.sampled_from(["off", "fresh", "cache"]),
)
async def test_what_was_streamed_is_what_the_assistant_said(
    pieces: list[tuple[str, str]],
    retractable: bool,  # noqa: FBT001 - drawn
    policy: sy.Policy,
) -> None:
    scripted = Scripted(*[text for kind, text in pieces if kind == "gen"])
    model = sy.Journaled(scripted.model)

    @sy.program
    async def tell() -> str:
        async with session(model) as s:
            s.text("Go.")
            for kind, text in pieces:
                if kind == "gen":
                    await s.gen("x", constraint=sy.Regex("[ab ]*") if len(text) % 2 else None)
                elif kind == "select":
                    await s.select("y", [" blue", " red"])
                else:
                    s.user(text) if kind == "user" else s.text(text)
            return "".join(message.text for message in s.messages if message.role == "assistant")

    start = lambda: sy.run(tell, journal=sy.MemoryJournal(), policy=policy)  # noqa: E731 - one expression
    async with sy.Stream(start, retractable=retractable) as stream:
        left = await left_of(stream)
        assert "".join(left) == await stream.result()


async def test_a_stream_names_the_hole_that_is_being_filled() -> None:
    model = sy.Journaled(Scripted("Ann Lee").model)

    @sy.program
    async def tell() -> None:
        async with session(model, name="sheet") as s:
            s.assistant("Name: ")
            await s.gen("name")
            s.text(", eyes:")
            await s.select("eyes", [" red", " blue"])

    async with tell.stream() as stream:
        partials = [(partial.step, partial.value) async for partial in stream.partials()]
    assert partials[:3] == [("sheet", "Name: "), ("name", "Ann"), ("name", "Ann Lee")]
    assert partials[3:] == [("sheet", ", eyes:"), ("eyes", " red")]


async def test_a_hole_may_be_searched_for() -> None:
    scripted = Scripted("a")
    async with session(scripted.model) as s:
        s.text("Say a.")
        await s.gen("a", decoder=beam(3))
    assert scripted.asked[0].extra == '{"decoder":{"kind":"beam","width":3}}'


# ------------------------------------------------------------------------------------------- the local engine


@pytest.mark.engine
async def test_branches_say_what_separate_requests_say() -> None:
    model = sy.local(threads=1, context=2048)
    topics = ["sleep", "bread", "rivers"]

    async def tell(branch: Session, topic: str) -> str:
        branch.user(f"Say one thing about {topic}.")
        return await branch.gen("said", max_tokens=8)

    async with session(model, system="Answer in one short sentence.") as s:
        together = await asyncio.gather(*map(tell, s.fork(3), topics))
    apart = [
        await model.complete(
            sy.Request(
                (
                    sy.Message("system", "Answer in one short sentence."),
                    sy.Message("user", f"Say one thing about {topic}."),
                ),
                max_tokens=8,
            )
        )
        for topic in topics
    ]
    assert list(together) == [completion.text for completion in apart]
    assert len(set(together)) == 3


@pytest.mark.engine
async def test_what_is_selected_has_the_highest_score_and_the_distribution_is_of_the_scores() -> None:
    model = sy.local(threads=1, context=2048)
    options = [" Paris", " London", " a small village in the south"]
    async with session(model) as s:
        s.user("What is the capital of France?")
        s.assistant("The capital of France is")
        scores = [score.logprob for score in await s.score(options)]
        weights = await s.distribution(options)
        assert sum(weights.values()) == pytest.approx(1.0)
        assert list(weights) == options
        assert weights[" Paris"] / weights[" London"] == pytest.approx(2.718281828459045 ** (scores[0] - scores[1]))
        prompt = s.messages
        assert await s.select("capital", options) == options[scores.index(max(scores))] == " Paris"
    direct = await select(model, prompt, options)
    assert direct.scores == pytest.approx(scores)


@pytest.mark.engine
async def test_a_turn_goes_on_where_the_text_ends() -> None:
    model = sy.local(threads=1, context=2048)
    async with session(model) as s:
        s.user("Count from one to ten in digits.")
        s.assistant("1, 2, 3, 4, 5,")
        assert (await s.gen("next", max_tokens=3)).strip().startswith("6")


@pytest.mark.engine
async def test_holes_and_branches_compute_only_what_is_new() -> None:
    journal = sy.MemoryJournal()
    model = sy.local(threads=1, context=2048)

    async def tell() -> None:
        async with session(model, system="You are careful with words, and you never waste one. " * 8) as s:
            s.user("Name a river of France.")
            await s.gen("river", max_tokens=4)
            s.text(" flows into")
            await s.select("sea", [" the Atlantic", " the sea"])
            await asyncio.gather(*(branch.gen("more", max_tokens=4, temperature=1.0) for branch in s.fork(3)))

    await sy.run(tell, journal=journal)
    first, *rest = [record.span for record in journal.records if isinstance(record, sy.CallRecord)]
    assert first.tokens_in > 100
    assert len(rest) == 4
    for call in rest:
        assert call.tokens_in - call.tokens_cached < 30
        assert call.tokens_cached >= first.tokens_in - 5
