"""Constraints at endpoints: their fields, what is refused or checked instead, and the one place that judges answers."""

from __future__ import annotations

import ctypes
import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.core.constraints import Constraint, choice, grammar, regex, where
from synthon.core.identity import dump_completion
from synthon.core.output import schema
from synthon.journal import export
from synthon.models._fields import constraint_fields
from synthon.models.anthropic_model import AnthropicMessages
from synthon.weights.on_disk import path_of
from tests.core.counting import Counting, ask
from tests.models.chats import PARIS, QUESTION, chat, whole
from tests.models.loopback import Loopback, Reply, answering

if TYPE_CHECKING:
    from synthon.core.protocols import Key
    from synthon.core.values import Capability

ABLE: frozenset[Capability] = frozenset({"chat", "schema", "grammar"})
CITY = schema({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
LOOSE = choice("Rome", "Oslo", check=True)


def asking(constraint: Constraint, **more: Any) -> sy.Request:
    return replace(ask("Which city?", **more), constraint=constraint)


Sent = tuple[list[dict[str, Any]], sy.Completion]


async def bodies(constraint: Constraint, *replies: Reply, **settings: Any) -> Sent:
    """What a journaled chat model sends for a constrained request, and its answer."""
    async with answering(*(replies or (PARIS,))) as loopback:
        completion = await sy.Journaled(chat(loopback, **settings)).complete(asking(constraint))
        return [received.body for received in loopback.received], completion


# ---------------------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("server", "constraint", "fields"),
    [
        ("vllm", choice("a.", "b"), {"structured_outputs": {"choice": ["a.", "b"]}}),
        ("vllm", regex("a+|x.?"), {"structured_outputs": {"regex": r"(a+|x[^\u{a}]?)"}}),
        ("vllm", where(startswith="a"), {"structured_outputs": {"regex": r"a[\u{0}-\u{10ffff}]*"}}),
        ("vllm", choice("a") | regex("[0-9]{3}"), {"structured_outputs": {"regex": "(a|[0-9]{3,3})"}}),
        ("vllm", regex("()"), {"structured_outputs": {"regex": "()"}}),
        ("vllm", grammar('start: "a"'), {"structured_outputs": {"grammar": 'start: "a"'}}),
        ("sglang", choice('say "a"', "-"), {"regex": r"(say\u{20}\u{22}a\u{22}|\u{2d})"}),
        ("sglang", regex(r"\Aa{2,}\Z"), {"regex": "a{2,}"}),
        ("sglang", where(length=(1, 9)), {"regex": r"[\u{0}-\u{10ffff}]{1,9}"}),
        ("llama.cpp", choice('say "a"', "b"), {"grammar": r'root ::= ( "say\U00000020\U00000022a\U00000022" | "b" )'}),
        ("llama.cpp", regex("ab+[^é]?"), {"grammar": r'root ::= "a" "b"+ [^\U000000E9]?'}),
        ("llama.cpp", regex("no|yes{2}"), {"grammar": 'root ::= ( "no" | "ye" "s"{2,2} )'}),
        ("llama.cpp", regex(""), {"grammar": 'root ::= ""'}),
    ],
)
async def test_each_server_is_given_what_means_the_same_there(
    server: str, constraint: Constraint, fields: dict[str, object]
) -> None:
    (body,), _ = await bodies(constraint, server=server)
    assert {name: body[name] for name in body.keys() - {"model", "messages", "temperature"}} == fields


PATTERNS = [r"[^\W\d_]{2,3}(-\w)*", r"(?i)ab?|\s+.", r"x\.y{0,2}|[]^-]", r"(?s:.a)+|\"\\", r"[\x00-\x1f]é?"]
TEXTS = st.text(st.sampled_from('abAB1_-^] .xy"\\é\n\x01\u0660'), max_size=6)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=TEXTS)
def test_a_pattern_on_the_wire_matches_what_it_matches_in_python(pattern: str, text: str) -> None:
    sent = str(constraint_fields(regex(pattern), "sglang")["regex"])
    read = re.sub(r"\\u\{([0-9a-f]+)\}", lambda code: f"\\U{int(code[1], 16):08x}", sent)
    assert bool(re.fullmatch(read, text)) == bool(re.fullmatch(pattern, text))


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=TEXTS)
def test_a_pattern_as_a_grammar_of_llama_cpp_derives_what_it_matches(pattern: str, text: str) -> None:
    sent = str(constraint_fields(regex(pattern), "llama.cpp")["grammar"]).removeprefix("root ::= ")
    # a literal is a group, blanks part signs, and the escapes of code points are Python's own
    read = re.sub(r'"([^"]*)"|(\[[^\]]*\])| ', lambda m: m[2] or (f"(?:{m[1]})" if m[1] is not None else ""), sent)
    assert bool(re.fullmatch(read, text)) == bool(re.fullmatch(pattern, text))


SHAPE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "title": "Name"},
        "site": {"type": "string", "format": "uri"},
        "day": {"type": "string", "format": "date"},
        "pet": {"oneOf": [{"const": "cat"}, {"type": "null"}], "discriminator": {"propertyName": "kind"}},
        "ages": {"type": "array", "items": {"type": "integer", "maximum": 9}, "uniqueItems": True, "maxItems": 2},
    },
    "required": ["name"],
    "$schema": "https://json-schema.org/draft/2020-12/schema",
}


async def test_openai_is_not_sent_what_its_strict_mode_refuses() -> None:
    (body,), _ = await bodies(schema(SHAPE))
    wanted = body["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"]) == ("output", True)
    assert wanted["schema"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "title": "Name"},
            "site": {"type": "string"},
            "day": {"type": "string", "format": "date"},
            "pet": {"anyOf": [{"const": "cat"}, {"type": "null"}]},
            "ages": {"type": "array", "items": {"type": "integer", "maximum": 9}, "maxItems": 2},
        },
        "required": ["name", "site", "day", "pet", "ages"],
        "additionalProperties": False,
    }


async def test_messages_are_sent_the_keywords_they_take() -> None:
    async with answering(PARIS) as loopback:
        claude = AnthropicMessages("claude", loopback.url, api_key="k")
        with pytest.raises(sy.ProviderError, match="no message"):  # the reply is a chat completion
            await claude.complete(replace(QUESTION, constraint=schema(SHAPE)))
        sent = loopback.received[0].body["output_config"]["format"]["schema"]
    assert sent["properties"]["ages"] == {"type": "array", "items": {"type": "integer"}}
    assert (sent["required"], sent["additionalProperties"]) == (["name"], False)


async def test_vllm_refuses_for_itself_and_is_sent_the_whole_schema() -> None:
    (body,), _ = await bodies(schema(SHAPE), server="vllm")
    ages = body["response_format"]["json_schema"]["schema"]["properties"]["ages"]
    assert ages == {"type": "array", "items": {"type": "integer", "maximum": 9}, "uniqueItems": True, "maxItems": 2}


ID = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize("server", ["openai", "vllm", "sglang", "llama.cpp"])
@pytest.mark.parametrize("whole", [ID | {"allOf": [NAME]}, {"allOf": [{"$ref": "#/$defs/Id"}, NAME]}])
async def test_what_inherits_is_sent_as_one_closed_object(server: str, whole: dict[str, object]) -> None:
    (body,), _ = await bodies(schema(whole | {"$defs": {"Id": ID}}), server=server)
    sent = body["response_format"]["json_schema"]["schema"]
    assert (list(sent["properties"]), sent["required"]) == (["id", "name"], ["id", "name"])
    assert (sent["additionalProperties"], "allOf" in sent) == (False, False)


APART = schema({"allOf": [ID | {"additionalProperties": {"type": "string"}}, NAME]})


async def test_what_cannot_be_one_object_stays_open_or_is_refused() -> None:
    (body,), _ = await bodies(APART, server="vllm")
    sent = body["response_format"]["json_schema"]["schema"]
    assert [arm.get("additionalProperties", "open") for arm in sent["allOf"]] == [{"type": "string"}, "open"]
    with pytest.raises(sy.Unsupported, match=r"closed objects only.*\"name\".*check=True"):
        await bodies(APART)
    assert set(hows(endpoint(), APART).values()) == {"unsupported"}
    assert set(hows(endpoint(), replace(APART, check=True)).values()) == {"checked"}


async def test_what_must_not_be_is_sent_as_it_is() -> None:
    (body,), _ = await bodies(schema(ID | {"not": {"properties": {"id": {"const": 1}}}}), server="vllm")
    sent = body["response_format"]["json_schema"]["schema"]
    assert sent["not"] == {"properties": {"id": {"const": 1}}}
    assert sent["additionalProperties"] is False


async def test_an_all_of_of_no_objects_is_left_to_the_check() -> None:
    ends = schema({"type": "object", "properties": {"a": {"allOf": [{"pattern": "^a"}, {"pattern": "b$"}]}}})
    (body,), _ = await bodies(ends)
    assert body["response_format"]["json_schema"]["schema"]["properties"] == {"a": {}}


# ---------------------------------------------------------------------------------------------- refused or checked


NO_FIELD = [
    ("openai", regex("a"), "cannot keep to a Regex: .*lack 'grammar'.*check=True"),
    ("sglang", grammar('start: "a"'), r"'sglang' endpoints enforce no Grammar .*server='vllm'.*check=True"),
    ("llama.cpp", grammar('start: "a"'), "'llama.cpp' endpoints enforce no Grammar"),
    ("vllm", where(excludes="x"), r"enforce no Where such as where\(excludes="),
    ("vllm", where(tokens=9), r"enforce no Where such as where\(tokens="),
    ("sglang", choice("a") & where(length=1), "enforce no Both such as"),
    ("vllm", regex("(?=a)a"), "look-around"),
]


@pytest.mark.parametrize(("server", "constraint", "complaint"), NO_FIELD)
async def test_a_constraint_without_a_field_is_refused_and_nothing_is_sent(
    server: str, constraint: Constraint, complaint: str
) -> None:
    async with answering(PARIS) as loopback:
        with pytest.raises(sy.Unsupported, match=complaint):
            await sy.Journaled(chat(loopback, server=server)).complete(asking(constraint))
        assert loopback.received == []


CHECKED = [
    ("openai", regex("[a-z]+", check=True), "it does not match"),
    ("sglang", grammar('start: "a"', check=True), "."),
    ("vllm", where(excludes="ari", check=True), "it holds 'ari'"),
    ("sglang", choice("a", check=True) & where(length=1, check=True), "it is not 'a'; it has 5 characters"),
    ("vllm", regex("(?=Paris)Pari", check=True), "it does not match"),
]


@pytest.mark.parametrize(("server", "constraint", "complaint"), CHECKED)
async def test_with_check_it_is_left_out_and_the_answer_is_judged(
    server: str, constraint: Constraint, complaint: str
) -> None:
    (body,), completion = await bodies(constraint, server=server)
    assert body.keys() == {"model", "messages", "temperature"}
    assert re.search(complaint, completion.unmet)


async def test_an_enforced_constraint_is_judged_too_and_a_kept_one_leaves_nothing_unmet() -> None:
    (body,), completion = await bodies(choice("Paris"), server="vllm")
    assert body["structured_outputs"] == {"choice": ["Paris"]}
    assert completion.unmet == ""
    cut = Reply(whole({"content": '{"city": "Par'}, "length"))
    _, completion = await bodies(CITY, cut)
    assert completion.finish == "length"
    assert completion.unmet


async def test_a_step_asks_again_until_the_endpoint_keeps_to_what_it_cannot_enforce() -> None:
    async with answering(PARIS, Reply(whole({"content": "Oslo"}))) as loopback:
        model = sy.Journaled(chat(loopback))

        @sy.step(model=model, constraint=LOOSE)
        async def capital(question: str) -> str:
            """Name the capital."""
            ...

        assert await capital("Of Norway?") == "Oslo"
    first, second = (received.body for received in loopback.received)
    assert first.keys() == second.keys() == {"model", "messages"}
    answer, complaint = second["messages"][-2:]
    assert (answer["role"], answer["content"]) == ("assistant", "Paris")
    assert "it is not 'Rome' or 'Oslo'" in complaint["content"]


async def test_a_completion_that_only_calls_tools_is_not_judged() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    _, completion = await bodies(CITY, Reply(whole({"content": None, "tool_calls": [call]}, "tool_calls")))
    assert (completion.tool_calls[0].name, completion.unmet) == ("f", "")


async def test_a_models_own_layout_of_json_is_never_unmet() -> None:
    tight = replace(CITY, layout="compact")
    _, completion = await bodies(tight, Reply(whole({"content": '{\n  "city":   "Oslo"}'})))
    assert completion.unmet == ""


PLAIN: dict[str, Callable[[], sy.Model]] = {
    "own class": Counting,
    "function": lambda: sy.FunctionModel(lambda _: "Paris"),
    "wrapped": lambda: sy.Retrying(sy.Timed(Counting(), timeout_s=9)),
    "first of two": lambda: sy.Fallback(Counting(), sy.FunctionModel(lambda _: "Paris", capabilities=ABLE)),
}


@pytest.mark.parametrize("which", PLAIN)
async def test_a_plain_model_never_ignores_a_constraint_in_silence(which: str) -> None:
    model = sy.Journaled(PLAIN[which]())
    with pytest.raises(sy.Unsupported, match=r"cannot keep to a Choice: .*lack 'grammar'"):
        await model.complete(asking(choice("Rome")))
    assert "'Rome' or 'Oslo'" in (await model.complete(asking(LOOSE))).unmet


async def test_a_plain_model_that_can_is_given_the_constraint_and_judged() -> None:
    seen: list[sy.Request] = []

    def function(request: sy.Request) -> str:
        seen.append(request)
        return "Paris"

    model = sy.Journaled(sy.FunctionModel(function, capabilities=ABLE))
    assert (await model.complete(asking(LOOSE))).unmet
    assert seen[0].constraint == LOOSE


COUNTED = where(tokens=(1, 2), check=True) & where(words=3, check=True)


@pytest.mark.parametrize("which", PLAIN)
async def test_a_count_of_tokens_is_refused_where_nobody_counts_them(which: str) -> None:
    model = sy.Journaled(PLAIN[which]())
    with pytest.raises(sy.Unsupported, match=r"A check of the answer cannot count `tokens`.*sy\.local"):
        await model.complete(asking(COUNTED))
    assert set(hows(model, COUNTED).values()) == {"unsupported"}


@pytest.mark.parametrize("server", ["openai", "vllm", "sglang", "llama.cpp"])
async def test_a_count_of_tokens_is_sent_to_no_endpoint(server: str) -> None:
    async with answering(PARIS) as loopback:
        model = sy.Journaled(chat(loopback, server=server))
        with pytest.raises(sy.Unsupported, match="A check of the answer cannot count `tokens`"):
            await model.complete(asking(COUNTED))
        assert loopback.received == []
    assert set(hows(model, COUNTED).values()) == {"unsupported"}


@pytest.mark.parametrize(("constraint", "unmet"), [(COUNTED, "cut off"), (choice("Paris"), "")])
async def test_of_a_count_of_tokens_the_models_own_word_is_taken(constraint: Constraint, unmet: str) -> None:
    model = sy.FunctionModel(lambda _: sy.Completion("Paris", unmet="cut off"), capabilities=ABLE)
    assert (await sy.Journaled(model).complete(asking(constraint))).unmet == unmet


BROKEN = [regex("("), regex("(", check=True), grammar("start: (", check=True), sy.Schema('{"type":"none"}', check=True)]


@pytest.mark.parametrize("constraint", BROKEN)
async def test_a_malformed_constraint_is_refused_before_an_answer_is_paid_for(constraint: Constraint) -> None:
    model = Counting()
    with pytest.raises(sy.UserError, match="Correct it"):
        await sy.Journaled(model).complete(asking(constraint))
    assert model.calls == 0


async def test_another_refusal_is_raised_with_check_too() -> None:
    async with answering(PARIS) as loopback:
        with pytest.raises(sy.Unsupported, match="lack 'score'"):
            await sy.Journaled(chat(loopback)).complete(replace(asking(LOOSE), continuations=("a",)))
        assert loopback.received == []


# ---------------------------------------------------------------------------------------------- rows


async def test_the_row_is_under_the_constrained_request_and_holds_what_is_unmet() -> None:
    journal, model = sy.MemoryJournal(), Counting(answer=lambda _: "Paris")

    async def ask_both() -> tuple[sy.Completion, sy.Completion]:
        journaled = sy.Journaled(model)
        return await journaled.complete(asking(LOOSE)), await journaled.complete(ask("Which city?"))

    for _ in range(2):
        constrained, free = await sy.run(ask_both, journal=journal, policy="cache")
        assert "'Rome' or 'Oslo'" in constrained.unmet
        assert (free.text, free.unmet) == ("Paris", "")
    assert [seen.constraint for seen in model.seen] == [None, None]


async def test_a_row_keeps_the_judgement_it_was_written_with() -> None:
    class Older(sy.MemoryJournal):
        def read(self, key: Key) -> str | None:
            return '{"text":"Paris","unmet":"as it was judged then"}'

    told = await sy.run(sy.Journaled(Counting()).complete, asking(LOOSE), journal=Older(), policy="cache")
    assert told.unmet == "as it was judged then"


def test_a_completion_with_nothing_unmet_is_written_as_ever() -> None:
    assert dump_completion(sy.Completion("Paris", unmet="")) == '{"text":"Paris"}'


async def test_recorded_answers_are_found_under_constraints_their_double_cannot_enforce(tmp_path: Any) -> None:
    model = sy.FunctionModel(lambda _: "Paris", "m", capabilities=ABLE)
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(sy.Journaled(model).complete, asking(choice("Rome")), run_id="r", journal=journal)
    (tmp_path / "rows").write_text("".join(f"{line}\n" for line in export(tmp_path / "j.db", "r")))
    recorded = sy.Recorded.load(tmp_path / "rows", name="m", identity=model.identity)
    for double in (recorded, sy.Journaled(recorded)):
        assert "'Rome'" in (await double.complete(asking(choice("Rome")))).unmet


# ---------------------------------------------------------------------------------------------- soundness


def hows(model: object, constraint: Constraint) -> dict[str, str]:
    found = getattr(model, "soundness")(constraint)  # noqa: B009 - wrappers are plain models to a type checker
    return {each.keyword: each.how for each in found}


def endpoint(**settings: Any) -> sy.Journaled:
    return sy.Journaled(chat(Loopback("http://127.0.0.1:9/v1", []), **settings))


def test_an_endpoint_promises_what_is_sent_to_it_and_the_rest_is_checked() -> None:
    found = endpoint().soundness(schema(SHAPE))
    kinds = {each.keyword: each for each in found}
    assert {kinds[name].how for name in ("properties", "maximum", "maxItems")} == {"enforced"}
    assert {kinds[name].how for name in ("minLength", "uniqueItems", "oneOf", "format")} == {"checked"}
    assert all("'city' at http://127.0.0.1:9/v1" in each.reason for each in found)
    assert set(hows(endpoint(server="vllm"), schema(SHAPE)).values()) == {"enforced"}
    assert hows(endpoint(server="llama.cpp"), schema(SHAPE))["maximum"] == "checked"  # it bounds integers only


@pytest.mark.parametrize(("server", "constraint", "complaint"), NO_FIELD)
def test_what_has_no_field_is_unsupported_and_with_check_checked(
    server: str, constraint: Constraint, complaint: str
) -> None:
    found = endpoint(server=server).soundness(constraint)
    assert found
    assert all(each.how == "unsupported" and re.search(complaint, each.reason) for each in found)


@pytest.mark.parametrize(("server", "constraint", "complaint"), CHECKED)
def test_soundness_tells_what_check_does(server: str, constraint: Constraint, complaint: str) -> None:
    assert complaint
    assert set(hows(endpoint(server=server), constraint).values()) == {"checked"}


def test_white_space_is_promised_by_no_endpoint() -> None:
    for check in (False, True):
        tight = replace(CITY, layout="compact", check=check)
        (layout,) = (each for each in endpoint().soundness(tight) if each.keyword == "layout")
        assert (layout.how, layout.place) == ("unsupported", "")
    assert "layout" not in hows(endpoint(), CITY)


def test_wrappers_answer_as_the_weakest_of_what_they_wrap() -> None:
    weak, strong = endpoint(), endpoint(server="vllm")
    for wrapped in (sy.Retrying(strong), sy.Timed(strong, timeout_s=9), sy.Budgeted(strong, sy.Budget(calls=1))):
        assert hows(wrapped, schema(SHAPE)) == hows(strong, schema(SHAPE))
    both = hows(sy.Fallback(strong, weak), schema(SHAPE))
    assert both == hows(weak, schema(SHAPE))
    assert set(hows(sy.Fallback(strong, sy.Journaled(Counting())), CITY).values()) == {"unsupported"}
    assert set(hows(sy.Journaled(Counting()), replace(CITY, check=True)).values()) == {"checked"}
    assert set(hows(sy.Journaled(sy.FunctionModel(str, capabilities=ABLE)), CITY).values()) == {"enforced"}
    assert set(hows(sy.Recorded("m", "m", {}), CITY).values()) == {"checked"}


# ---------------------------------------------------------------------------------------------- cost


def test_a_call_without_a_constraint_loads_no_decoding() -> None:
    program = """
    import asyncio, sys
    import synthon as sy
    from tests.core.counting import Counting, ask
    asyncio.run(sy.Journaled(Counting()).complete(ask("q")))
    print([name for name in sys.modules if "decoding" in name or name in ("llguidance", "jsonschema_rs")])
    """
    command = [sys.executable, "-c", "\n".join(line.strip() for line in program.splitlines())]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ended.stdout) == []


# ---------------------------------------------------------------------------------------------- llama.cpp's own word

SAID = ["ab", "abc", "é-x", "AB", "  x", "x.yy", "]", "xaba", '"\\', "\x01é", "aaa", "noyes", "yess", "2024-01", "b"]
READ = [*PATTERNS, "(no|yes){2}", r"\d{4}-\d\d", "a|", "(a|)b+", "[^é]?", r"\S+(\s+\S+){0,1}"]


@pytest.mark.engine
@pytest.mark.parametrize("pattern", READ)
def test_llama_cpp_reads_the_grammars_as_python_reads_the_patterns(pattern: str) -> None:
    sent = str(constraint_fields(regex(pattern), "llama.cpp")["grammar"])
    vocabulary = _vocabulary()
    derived = [text for text in SAID if _is_derived(vocabulary, sent, text)]
    assert derived == [text for text in SAID if re.fullmatch(pattern, text)]


@functools.cache
def _vocabulary() -> Any:
    import llama_cpp  # noqa: PLC0415 - an extra's

    settings = llama_cpp.llama_model_default_params()
    settings.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path_of("smollm2-135m")).encode(), settings)
    return llama_cpp.llama_model_get_vocab(model)


def _is_derived(vocabulary: Any, sent: str, text: str) -> bool:
    """Whether a server's sampler lets the text through, token by token, and its end."""
    import llama_cpp as llama  # noqa: PLC0415 - an extra's

    tokens = (llama.llama_token * 64)()
    count = llama.llama_tokenize(vocabulary, text.encode(), len(text.encode()), tokens, 64, False, False)
    sampler = llama.llama_sampler_init_grammar(vocabulary, sent.encode(), b"root")
    assert sampler, sent
    try:
        for token in (*tokens[:count], end := llama.llama_vocab_eos(vocabulary)):
            (one,) = held = (llama.llama_token_data * 1)(llama.llama_token_data(token, 0.0, 0.0))
            llama.llama_sampler_apply(sampler, ctypes.byref(llama.llama_token_data_array(held, 1, -1, False)))
            if one.logit < -1e30:
                return False
            if token != end:
                llama.llama_sampler_accept(sampler, token)
    finally:
        llama.llama_sampler_free(sampler)
    return True
