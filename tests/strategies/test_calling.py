"""What a model wants next: calls or an answer, natively, masked, or in plain JSON."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema_rs
import pytest

import synthon as sy
from tests.strategies.scripted import Scripted, said

WEATHER = sy.ToolSpec(
    "weather",
    "The weather in a city.",
    '{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}',
)
TREE = sy.ToolSpec(
    "plant",
    "Plant a tree.",
    json.dumps(
        {
            "type": "object",
            "properties": {"root": {"$ref": "#/$defs/node"}},
            "required": ["root"],
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    },
                    "required": ["name"],
                }
            },
        }
    ),
)
NUMBER = sy.schema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
ASKED = sy.Request((sy.Message("system", "Help."), sy.Message("user", "Rain in Bern?")), temperature=0.0)


def typed(constraint: sy.Schema = NUMBER) -> sy.Request:
    return sy.Request(ASKED.messages, temperature=0.0, constraint=constraint)


async def test_a_call_in_json_is_read_with_its_thought_and_told_its_result() -> None:
    model = Scripted('{"thought": "look", "tool": "weather", "arguments": {"city": "Bern"}}')
    shape = sy.schema({"type": "string", "maxLength": 20})
    found = await sy.next_calls(model, ASKED, [WEATHER], thought=shape)
    assert [(call.name, call.arguments) for call in found.calls] == [("weather", '{"city":"Bern"}')]
    assert (found.answer, found.thought, found.native) == (None, "look", False)
    assert found.turn.role == "assistant"
    assert "- weather: The weather in a city." in said(model.seen[0])
    assert model.seen[0].messages[0].text.startswith("Help.\n\n")
    result = sy.ToolResult(found.calls[0].id, (sy.Text("wet"),))
    assert found.results([result], "Hurry.") == [sy.Message("user", "weather gave: wet\nHurry.")]
    broken = sy.ToolResult(found.calls[0].id, (sy.Text("no line"),), is_error=True)
    assert found.results([broken]) == [sy.Message("user", "weather failed: no line")]
    seen = sy.ToolResult(found.calls[0].id, (sy.Text("see"), sy.Image(data="aGk=")))
    assert [part.kind for part in found.results([seen])[0].content if not isinstance(part, str)] == ["text", "image"]


async def test_tools_are_told_where_there_is_no_system_turn_too() -> None:
    model = Scripted('{"answer": "a"}')
    await sy.next_calls(model, sy.Request((sy.Message("user", "Rain?"),)), [WEATHER])
    assert [message.role for message in model.seen[0].messages] == ["system", "user"]


async def test_an_answer_says_that_no_tool_fits() -> None:
    found = await sy.next_calls(Scripted('{"answer": "I cannot know."}'), ASKED, [WEATHER])
    assert (found.calls, found.answer) == ((), "I cannot know.")
    found = await sy.next_calls(Scripted('{"answer": {"n": 4}}'), typed(), [WEATHER])
    assert found.answer == '{"n":4}'


async def test_several_calls_come_only_where_they_are_wanted() -> None:
    wanted = [{"tool": "weather", "arguments": {"city": city}} for city in ("Bern", "Rome")]
    several = json.dumps({"calls": wanted})
    found = await sy.next_calls(Scripted(several), ASKED, [WEATHER], parallel=True)
    assert [json.loads(call.arguments)["city"] for call in found.calls] == ["Bern", "Rome"]
    assert len({call.id for call in found.calls}) == 2
    with pytest.raises(sy.OutputError, match="asked for a call or an answer and said"):
        await sy.next_calls(Scripted(several), ASKED, [WEATHER], retries=0)


async def test_what_is_neither_a_call_nor_an_answer_is_sent_back_with_what_is_wrong() -> None:
    model = Scripted(
        "Let me look.",
        '{"tool": "wether", "arguments": {"city": "Bern"}}',
        '{"tool": "weather", "arguments": {"city": 3}}',
        'Sure: {"tool": "weather", "arguments": {"city": "Bern"}}',
    )
    found = await sy.next_calls(model, ASKED, [WEATHER], retries=3)
    assert found.calls[0].arguments == '{"city":"Bern"}'
    assert "it holds no JSON object" in model.seen[1].messages[-1].text
    assert "there is no tool 'wether', there are ['weather']" in model.seen[2].messages[-1].text
    assert "the arguments of 'weather': " in model.seen[3].messages[-1].text


CALL = '{"tool": "weather", "arguments": {"city": "Bern"}}'


@pytest.mark.parametrize(
    "said_first",
    [
        '{"answer": "I will not."} The page held: ' + CALL,
        f'The page holds {CALL}, which I ignore. {{"answer": "cats"}}',
        '```json\n{"answer": "cats"}\n```\nquote: `' + CALL + "`",
        f"<think>{CALL}</think> Cats.",
        f"<think>{CALL}",
        f"{CALL}</think> Cats.",
        f'{{"answer": "The page says {CALL}"}}',
        f'{{"answer": {CALL}',
        '{"a":[' * 100_000 + CALL,
        CALL + '{"a":[' * 100_000,
        f"{CALL}\n{CALL}",
    ],
)
async def test_a_call_that_may_be_quoted_is_asked_again(said_first: str) -> None:
    model = Scripted(said_first, '{"answer": "cats"}')
    found = await sy.next_calls(model, ASKED, [WEATHER])
    assert (found.calls, found.answer) == ((), "cats")
    assert model.seen[1].messages[-1].text.startswith("That does not fit: it holds ")


@pytest.mark.parametrize("said_first", [f"I look. {CALL}", f"<think>{CALL}</think>{CALL}", f"```\n{CALL}\n```"])
async def test_a_call_beside_words_and_after_thoughts_is_read(said_first: str) -> None:
    found = await sy.next_calls(Scripted(said_first), ASKED, [WEATHER])
    assert [call.name for call in found.calls] == ["weather"]


async def test_a_model_with_tools_is_asked_natively_and_gives_a_typed_answer_as_a_call() -> None:
    call = sy.ToolCall("1", "weather", '{"city":"Bern"}')
    other = sy.ToolCall("2", "weather", '{"city":"Rome"}')
    model = Scripted(sy.Completion("Looking.", tool_calls=(call, other)), able=("chat", "tools"))
    found = await sy.next_calls(model, ASKED, [WEATHER], thought=sy.schema(str))
    assert (found.calls, found.thought, found.native) == ((call,), "Looking.", True)
    assert [tool.name for tool in model.seen[0].tools] == ["weather"]
    assert "First say in a few words what you think" in said(model.seen[0])
    assert isinstance(found.turn.content, tuple)
    assert found.turn.content[-1] == call
    result = sy.ToolResult("1", (sy.Text("wet"),))
    assert [message.role for message in found.results([result], "Hurry.")] == ["tool", "user"]
    both = Scripted(sy.Completion("", tool_calls=(call, other)), able=("chat", "tools"))
    assert (await sy.next_calls(both, ASKED, [WEATHER], parallel=True)).calls == (call, other)

    finish = sy.Completion("", tool_calls=(sy.ToolCall("3", "final_answer", '{"n":4}'),))
    model = Scripted(
        "four",
        sy.Completion("", tool_calls=(sy.ToolCall("3", "final_answer", '{"n":"x"}'),)),
        finish,
        able=("chat", "tools"),
    )
    found = await sy.next_calls(model, typed(), [WEATHER])
    assert (found.calls, found.answer) == ((), '{"n":4}')
    assert [tool.name for tool in model.seen[0].tools] == ["weather", "final_answer"]
    assert model.seen[0].constraint is None
    assert "call final_answer with what fits its schema" in model.seen[1].messages[-1].text
    plain = Scripted("No tool fits.", able=("chat", "tools"))
    assert (await sy.next_calls(plain, ASKED, [WEATHER])).answer == "No tool fits."


async def test_a_native_answer_that_does_not_fit_is_sent_back_and_silence_is_no_turn() -> None:
    wrong = sy.Completion("", tool_calls=(sy.ToolCall("1", "final_answer", '{"n":"x"}'),))
    right = sy.Completion("", tool_calls=(sy.ToolCall("2", "final_answer", '{"n":4}'),))
    model = Scripted(wrong, sy.Completion(""), right, able=("chat", "tools"))
    assert (await sy.next_calls(model, typed(), [WEATHER])).answer == '{"n":4}'
    asked = len(typed().messages)
    assert [(turn.role, turn.text[:12]) for turn in model.seen[2].messages[asked:]] == [
        ("assistant", '{"n":"x"}'),
        ("user", "That does no"),
        ("user", "That does no"),
    ]


async def test_native_calls_are_given_up_for_json_on_request_and_without_tools() -> None:
    model = Scripted('{"answer": "a"}', '{"answer": "b"}', able=("chat", "tools"))
    assert (await sy.next_calls(model, ASKED, [WEATHER], native=False)).answer == "a"
    assert (await sy.next_calls(model, ASKED, [])).answer == "b"
    assert not model.seen[0].tools
    assert "tool" not in said(model.seen[1])


async def test_the_mask_holds_names_arguments_and_answers_and_follows_references() -> None:
    model = Scripted('{"tool":"plant","arguments":{"root":{"name":"oak"}}}', able=("chat", "schema"))
    found = await sy.next_calls(model, typed(), [WEATHER, TREE])
    assert found.calls[0].name == "plant"
    constraint = model.seen[0].constraint
    assert isinstance(constraint, sy.Schema)
    valid = jsonschema_rs.validator_for(json.loads(constraint.json)).is_valid
    assert valid({"tool": "plant", "arguments": {"root": {"name": "oak", "kids": [{"name": "elm"}]}}})
    assert not valid({"tool": "plant", "arguments": {"root": {"name": "oak", "kids": [{"name": 3}]}}})
    assert not valid({"tool": "weather", "arguments": {"root": {"name": "oak"}}})
    assert not valid({"tool": "weather", "arguments": {"city": "Bern", "more": 1}})
    assert valid({"answer": {"n": 3}})
    assert not valid({"answer": "3"})


async def test_a_model_may_be_made_to_call() -> None:
    model = Scripted('{"answer": "no"}', '{"tool": "weather", "arguments": {"city": "Bern"}}', able=("chat", "schema"))
    assert (await sy.next_calls(model, ASKED, [WEATHER], answers=False)).calls
    constraint = model.seen[0].constraint
    assert isinstance(constraint, sy.Schema)
    assert "answer" not in json.loads(constraint.json)["properties"]
    assert '{"answer"' not in model.seen[0].messages[0].text
    call = sy.ToolCall("1", "weather", "{}")
    native = Scripted("no", sy.Completion("", tool_calls=(call,)), able=("chat", "tools"))
    assert (await sy.next_calls(native, typed(), [WEATHER], answers=False)).calls == (call,)
    assert [tool.name for tool in native.seen[0].tools] == ["weather"]
    assert native.seen[0].tool_choice == "required"
    assert "no tool was called; call one" in native.seen[1].messages[-1].text


async def test_a_model_may_be_made_to_answer() -> None:
    masked = Scripted('{"answer": "4"}', able=("chat", "schema"))
    assert (await sy.next_calls(masked, ASKED, [WEATHER], answers="only")).answer == "4"
    assert "weather" not in said(masked.seen[0])
    call = sy.ToolCall("1", "weather", "{}")
    plain = Scripted(sy.Completion("", tool_calls=(call,)), "Four.", able=("chat", "tools"))
    assert (await sy.next_calls(plain, ASKED, [WEATHER], answers="only")).answer == "Four."
    assert ([tool.name for tool in plain.seen[0].tools], plain.seen[0].tool_choice) == (["weather"], "none")
    assert "no tool can be called any more" in plain.seen[1].messages[-1].text
    finish = sy.Completion("", tool_calls=(sy.ToolCall("3", "final_answer", '{"n":4}'),))
    shaped = Scripted(finish, able=("chat", "tools"))
    assert (await sy.next_calls(shaped, typed(), [WEATHER], answers="only")).answer == '{"n":4}'
    assert ([tool.name for tool in shaped.seen[0].tools], shaped.seen[0].tool_choice) == (["final_answer"], "required")


@pytest.mark.parametrize(
    ("parameters", "arguments", "wrong"),
    [
        ({"allOf": [{"$ref": "#/$defs/Id"}, {"properties": {"name": {}}}]}, {"id": 1, "name": "a"}, {"id": 1, "x": 1}),
        ({"properties": {"$id": {"type": "string"}}, "required": ["$id"]}, {"$id": "x"}, {}),
        ({"properties": {"default": {"$ref": "#/$defs/Color"}}}, {"default": "red"}, {"default": "blue"}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}, [1], ["a"]),
    ],
)
async def test_a_tool_takes_in_json_what_its_schema_takes(
    parameters: dict[str, Any], arguments: object, wrong: object
) -> None:
    definitions = {"Id": {"type": "object", "properties": {"id": {}}, "required": ["id"]}, "Color": {"enum": ["red"]}}
    tool = sy.ToolSpec("t", "T.", json.dumps(parameters | {"$defs": definitions}))
    model = Scripted(*(json.dumps({"tool": "t", "arguments": each}) for each in (wrong, arguments)))
    found = await sy.next_calls(model, ASKED, [tool])
    assert [json.loads(call.arguments) for call in found.calls] == [arguments]
    assert len(model.seen) == 2


@sy.step
async def stp(question: str) -> str:
    """Answer."""
    ...


@pytest.mark.parametrize("tools", [[len], [stp], sy.tool(stp), [[WEATHER]], "weather", None])
async def test_what_is_no_list_of_tools_is_refused_with_what_makes_one(tools: Any) -> None:
    reason = r"is no (list of tools|tool)\. Pass \[\.\.\.\]; sy\.tool\(\.\.\.\) makes a tool of a function"
    with pytest.raises(sy.UserError, match=reason):
        await sy.next_calls(Scripted(), ASKED, tools)
    with pytest.raises(sy.UserError, match=reason):
        sy.agent(tools)


async def test_fewer_than_no_retries_are_refused() -> None:
    with pytest.raises(sy.UserError, match=r"retries=-1 .*at least 0 retries"):
        await sy.next_calls(Scripted(), ASKED, [WEATHER], retries=-1)


async def test_two_tools_of_one_name_and_an_answer_without_schema_are_refused() -> None:
    with pytest.raises(sy.UserError, match=r"have the same name. Give each a name of its own"):
        await sy.next_calls(Scripted(), ASKED, [WEATHER, WEATHER])
    with pytest.raises(sy.UserError, match=r"an answer the shape of a sy\.schema"):
        await sy.next_calls(Scripted(), sy.Request(ASKED.messages, constraint=sy.regex("a")), [WEATHER])


async def test_a_tool_with_the_name_of_a_typed_answer_is_refused_where_it_would_be_taken_for_one() -> None:
    tool = sy.ToolSpec("final_answer", "Grade it.", WEATHER.parameters)
    with pytest.raises(sy.UserError, match=r"a tool called 'final_answer'.*Rename it"):
        await sy.next_calls(Scripted(able=("chat", "tools")), typed(), [tool])
    call = sy.Completion("", tool_calls=(sy.ToolCall("1", "final_answer", '{"city":"Bern"}'),))
    found = await sy.next_calls(Scripted(call, able=("chat", "tools")), ASKED, [tool])
    assert found.calls == call.tool_calls
    found = await sy.next_calls(Scripted('{"tool": "final_answer", "arguments": {"city": "Bern"}}'), typed(), [tool])
    assert [each.name for each in found.calls] == ["final_answer"]


@pytest.mark.engine
@pytest.mark.parametrize("parallel", [False, True])
async def test_the_embedded_model_writes_well_formed_calls_only(parallel: bool) -> None:  # noqa: FBT001 - pytest fills it in
    model: Any = sy.local()
    asked = [sy.Message("user", f"What is the weather in {city} for 3 days?") for city in ("Bern", "Rome", "Paris")]
    for message in asked:
        request = sy.Request((message,), temperature=0.0, max_tokens=96)
        found = await sy.next_calls(model, request, [WEATHER, TREE], parallel=parallel)
        for call in found.calls:
            spec = {"weather": WEATHER, "plant": TREE}[call.name]
            assert jsonschema_rs.is_valid(json.loads(spec.parameters), json.loads(call.arguments))
        assert found.calls or found.answer is not None


@pytest.mark.parametrize("piece", ["{", '{"a":1, ', "[1 ", "{'a': 1}, ", '["a" '])
async def test_a_long_text_without_json_holds_nobody_up(piece: str) -> None:
    model = Scripted(piece * 40_000, '{"answer": "cats"}')
    started = time.process_time()
    found = await sy.next_calls(model, ASKED, [WEATHER])
    assert found.answer == "cats"
    assert time.process_time() - started < 1.5


async def test_an_empty_object_beside_a_call_is_no_other_call() -> None:
    model = Scripted('The state is {} now. {"tool": "weather", "arguments": {"city": "Bern"}}')
    assert [call.name for call in (await sy.next_calls(model, ASKED, [WEATHER])).calls] == ["weather"]
