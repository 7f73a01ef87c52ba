"""The examples: each runs as a reader would run it, and keeps to what it says is enforced, judged by other means."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

import synthon as sy

if TYPE_CHECKING:
    from synthon.core.constraints import Constraint

ROOT = Path(__file__).resolve().parent.parent
NAMES = [
    *("alphacode", "autogpt", "babyagi", "chain_of_thought", "chains", "dspy_assertions", "guardrails_rail"),
    *(
        "langchain_bridge",
        "llamaindex_bridge",
        "lmql_query",
        "medprompt",
        "outlines_types",
        "self_consistency",
        "sglang_fork",
        "support",
    ),
]


def example(name: str) -> Any:
    """An example, imported by its path."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pydantic look their module up
    spec.loader.exec_module(module)
    return module


@dataclass
class Watched:
    """A local model that keeps what it was asked and what it said."""

    inner: sy.Journaled
    calls: list[tuple[sy.Request, sy.Completion]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def identity(self) -> str:
        return self.inner.identity

    @property
    def capabilities(self) -> frozenset[sy.Capability]:
        return self.inner.capabilities

    def soundness(self, constraint: Constraint) -> tuple[sy.Soundness, ...]:
        return self.inner.soundness(constraint)

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        completion = await self.inner.model.complete(request, emit)
        self.calls.append((request, completion))
        return completion


def test_every_example_fits_a_page_says_what_is_enforced_and_is_listed() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert sorted(path.stem for path in (ROOT / "examples").glob("*.py")) == NAMES
    for name in NAMES:
        text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
        docstring = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
        assert text.count("\n") <= 120
        missing = [word for word in ("There,", "Here,", "Enforced:", "Not enforced:") if word not in docstring]
        assert not missing
        assert f"examples/{name}.py" in page


# ---------------------------------------------------------------------------------------------------- LMQL


@pytest.mark.engine
async def test_lmql_holes_keep_to_their_where_clauses() -> None:
    lmql = example("lmql_query")
    things, reading = await lmql.main()
    assert len(things) == 3
    for number, thing in enumerate(things):
        assert re.fullmatch("[a-zA-Z ]{2,22}", thing)
        assert not any(earlier in thing for earlier in things[:number])
    assert 3 <= len(reading.gist.split()) <= 20
    assert reading.gist.endswith(".")
    assert reading.gist.count(".") == 1
    assert "\n" not in reading.gist
    assert list(reading.sentiments) == ["positive", "neutral", "negative"]
    assert sum(reading.sentiments.values()) == pytest.approx(1)


@pytest.mark.engine
async def test_lmql_distribution_is_that_of_the_exact_scores() -> None:
    lmql, model = example("lmql_query"), Watched(sy.local())
    reading = await lmql.read.using(model=model)(lmql.REVIEW)
    hole, asked = (request for request, _ in model.calls)
    assert json.loads(hole.extra) == {"decoder": {"kind": "beam", "width": 3}}
    apart = [
        (await model.inner.model.complete(sy.Request(asked.messages, continuations=(label,)))).scores[0].logprob
        for label in lmql.SENTIMENTS
    ]
    total = sum(map(math.exp, apart))
    expected = [math.exp(logprob) / total for logprob in apart]
    assert list(reading.sentiments.values()) == pytest.approx(expected, rel=0.01)
    assert reading.sentiment == max(reading.sentiments, key=reading.sentiments.__getitem__)
    assert asked.messages[-1].text.endswith(f"{reading.gist} So the review is")


# ---------------------------------------------------------------------------------------------------- SGLang


@pytest.mark.engine
async def test_sglang_branches_reuse_their_prefix_and_equal_separate_requests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sglang = example("sglang_fork")
    model = Watched(sy.local(memory_gb=0.9))  # an engine of its own, which knows nothing yet
    monkeypatch.setattr(sy, "local", lambda: sy.Journaled(model))
    verdict, used = await sglang.main()

    assert {verdict.overall, *verdict.grades} <= set("ABCD")
    assert len(verdict.remarks) == len(verdict.grades) == 3
    for remark in verdict.remarks:
        assert 3 <= len(remark.split()) <= 24
        assert re.fullmatch(r"It [^.\n]+\.", remark)

    usages = [completion.usage for _, completion in model.calls]
    assert [(call.cached, call.computed) for call in used] == [
        (each.cached_tokens, each.input_tokens) for each in usages
    ]
    assert usages[0].cached_tokens < 0.05 * usages[0].input_tokens
    cached, computed = sum(call.cached for call in used[1:-1]), sum(call.computed for call in used[1:-1])
    assert cached / (cached + computed) > 0.8
    share = sum(call.cached for call in used) / sum(call.cached + call.computed for call in used)
    assert f"{share:.0%} of all prompt tokens came from the cache" in capsys.readouterr().out

    branches = model.calls[1:-1]
    generated = [call for call in branches if not call[0].continuations]
    selected = [call for call in branches if call[0].continuations]
    assert len(generated) == len(selected) == 3
    for number, (request, completion) in enumerate([*generated, selected[-1]]):
        alone = await model.inner.model.complete(replace(request, salt=f"stranger {number}"))  # nothing is shared
        assert alone.usage.cached_tokens == 0
        assert (alone.text, alone.scores) == (completion.text, completion.scores)
    close: Any = getattr(model.inner.model, "close")  # noqa: B009 - a model need not have one
    close()


# ---------------------------------------------------------------------------------------------------- Outlines


def fits(outlines: Any, name: str, answer: Any) -> bool:
    """Whether other libraries find that the answer of a step has its type."""
    match name:
        case "kind":
            return answer in {"booking", "complaint", "question"}
        case "arrival":
            return re.fullmatch(outlines.TIME, answer) is not None
        case "booking":
            return jsonschema_rs.is_valid(outlines.Booking.model_json_schema(), json.loads(answer.model_dump_json()))
        case "contact":
            return jsonschema_rs.is_valid(outlines.CONTACT, answer) and len(answer["pets"]) == len(set(answer["pets"]))
    return is_formula(answer)


def is_formula(text: str) -> bool:
    """Whether Python reads it as whole numbers under + - * / alone."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except SyntaxError:
        return False
    allowed = (ast.Expression, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Constant)
    numbers = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return all(isinstance(node, allowed) for node in nodes) and all(type(number) is int for number in numbers)


@pytest.mark.engine
async def test_outlines_answers_fit_their_types_by_other_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    outlines = example("outlines_types")
    answers = await outlines.main()
    assert list(answers) == ["kind", "arrival", "booking", "contact", "formula"]
    assert [name for name, answer in answers.items() if not fits(outlines, name, answer)] == []
    printed = capsys.readouterr().out
    assert "checked: uniqueItems (a mask does not compare items)" in printed
    assert printed.count("    enforced: ") == 5
    assert "unsupported" not in printed


@pytest.mark.engine
async def test_outlines_steps_without_their_constraint_do_not_fit() -> None:
    outlines, model = example("outlines_types"), sy.local()
    for step in (outlines.kind, outlines.arrival):
        free = await step.using(model=model, constraint=None, max_tokens=24)(outlines.LETTER)
        assert not fits(outlines, step.name, free)


# ---------------------------------------------------------------------------------------------------- Guardrails


@pytest.mark.engine
async def test_guardrails_rounds_are_exact_and_streaming_changes_nothing() -> None:
    rail = example("guardrails_rail")
    script, scripted, embedded, quoted = await rail.main()
    expected = rail.Ticket(customer="Ann Lee", summary="The parcel has never", urgency=5, tags=["parcel"])
    assert scripted.awaited == scripted.streamed == expected
    assert rail.Ticket.model_validate_json(scripted.left) == expected
    first, second, *streamed = script.asked
    assert streamed == [first, second]
    assert [message.role for message in second.messages] == ["system", "user", "assistant", "user"]
    assert second.messages[2].text == rail.DRAFT
    said, _, schema = second.messages[3].text.split("\n")
    assert said == "customer: 'A. Lee' is not in the message"
    assert list(json.loads(schema)["properties"]) == ["customer"]
    assert embedded.awaited == embedded.streamed
    if isinstance(embedded.awaited, rail.Ticket):
        assert rail.Ticket.model_validate_json(embedded.left) == embedded.awaited
        assert embedded.awaited.customer in rail.MESSAGE
        assert len(embedded.awaited.summary) <= 24
        assert embedded.awaited.urgency in range(1, 6)
        assert set(embedded.awaited.tags) <= {"parcel", "refund", "telephone"}
    else:
        assert embedded.awaited.startswith("refused: ")
    assert quoted in rail.MESSAGE or quoted == "(no quote)"


# ---------------------------------------------------------------------------------------------------- bridges


@pytest.mark.engine
async def test_a_chain_of_langchains_runs_on_our_parts_and_makes_no_call_twice() -> None:
    told: list[str] = []
    shown = await example("langchain_bridge").main(told.append)
    assert shown.kind in {"place", "time", "price"}
    assert shown.answer
    assert shown.calls == (3, 0)  # a search, a choice and an answer
    assert told[0].startswith(f"{shown.kind}: {shown.answer}")


@pytest.mark.engine
async def test_a_query_engine_of_llamaindexs_runs_on_our_parts_and_makes_no_call_twice() -> None:
    bridge, told = example("llamaindex_bridge"), list[str]()
    shown = await bridge.main(told.append)
    assert len(shown.chunks) > 1
    assert all(bridge.TEXT[chunk.start : chunk.end] == chunk.text for chunk in shown.chunks)
    assert shown.answer
    assert "ferry" in shown.theirs[0]
    assert shown.sources == [f"village:{chunk.start}" for chunk in shown.chunks if "ferry" in chunk.text]
    assert shown.calls == (2, 0)  # a search and an answer


@pytest.mark.parametrize(("name", "library"), [("langchain", "langchain_core"), ("llamaindex", "llama_index.core")])
def test_a_bridge_without_its_library_says_what_to_install(name: str, library: str) -> None:
    """In a process of its own, where the library cannot be imported, as if it were not installed."""
    code = f"import sys, runpy; sys.modules[{library!r}] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    path = str(ROOT / "examples" / f"{name}_bridge.py")
    done = subprocess.run([sys.executable, "-c", code, path], check=False, capture_output=True, text=True)
    assert done.stdout.endswith(f"Run: pip install 'synthon[{name}]'\n"), done.stderr


# ---------------------------------------------------------------------------------------------------- strategies


@pytest.mark.engine
async def test_a_chain_of_thought_answers_in_type_and_counts_what_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    chain = example("chain_of_thought")
    found = await chain.main()
    assert [each.question for each in found] == list(chain.KEY)
    assert all(isinstance(each.direct, int) and isinstance(each.reasoned, int) and each.thought for each in found)
    right = sum(each.reasoned == chain.KEY[each.question] for each in found)
    assert f"reasoned: {right} of {len(found)} right" in capsys.readouterr().out


@pytest.mark.engine
async def test_a_vote_that_stops_early_has_the_winner_of_all_votes() -> None:
    voting = example("self_consistency")
    found = await voting.main()
    assert len(found) == len(voting.KEY) * len(voting.STRATEGIES)
    for review in voting.KEY:
        of = {each.strategy: each for each in found if each.review == review}
        assert {each.answer for each in of.values()} <= {"positive", "negative"}
        assert of["self-consistency"].answer == of["all votes"].answer
        assert of["self-consistency"].calls <= of["all votes"].calls == 2 * voting.VOTES
        assert of[f"CoT@{voting.VOTES}"].calls in {2 * voting.VOTES, 2 * voting.VOTES + 2}


@pytest.mark.engine
async def test_what_an_assertion_refuses_goes_back_to_the_step_to_blame() -> None:
    asserting = example("dspy_assertions")
    subjects = {"prize", "garden", "opening hours"}
    for each in await asserting.main():
        blamed = [refusal for refusal in each.refused if refusal.check == "tells_when"]
        assert all(refusal.failed in subjects - {"opening hours"} for refusal in blamed)
        assert all(refusal.corrected in {"", "opening hours"} for refusal in blamed)
        assert len(each.text) <= 80 or any(not refusal.corrected for refusal in each.refused)
        assert 2 <= each.calls <= 8  # two steps, each sent back twice at most, whatever was read from the journal


@pytest.mark.engine
async def test_medprompt_shows_only_reasonings_that_the_model_follows_to_the_right_answer() -> None:
    climbing = example("medprompt")
    ladder = await climbing.main()
    assert list(ladder.right) == ["bare", "+ nearest", "+ reasoning", "+ shuffling"]
    assert all(0 <= right <= len(climbing.TEST) for right in ladder.right.values())
    outputs = {json.dumps(demo.inputs): demo.output for demo in climbing.TRAIN}
    for demo in ladder.made.kept:
        assert outputs[json.dumps(demo.inputs)] == demo.output
        assert demo.thought
        assert await climbing.CHAIN.answering(ladder.made.bare, demo.thought)(**demo.inputs) == demo.output


@pytest.mark.engine
async def test_alphacodes_pick_holds_the_given_tests_and_its_samples_are_of_the_grammar() -> None:
    coding = example("alphacode")
    for solved in await coding.main():
        assert re.fullmatch(r"return [-+*()a-z12, ]+\n", solved.pick)
        assert await coding.passes(solved.pick, solved.problem.tests) or solved.share == 0
        assert solved.is_right == await coding.passes(solved.pick, solved.problem.hidden)
        assert 0 <= solved.share <= 1


@pytest.mark.engine
async def test_autogpt_does_what_the_person_let_go_and_nothing_else() -> None:
    outcome, shop, person = await example("autogpt").main()
    assert outcome.ended in {"finished", "steps or budget", "stopped"}
    assert len(person.asked) == 2
    assert len(shop.done) == 1
    assert all(re.search(r'next command: (count|order) \{"fruit":"(apples|pears)"', asked) for asked in person.asked)


@pytest.mark.engine
async def test_babyagi_works_a_queue_off_without_doubles() -> None:
    working = example("babyagi")
    outcome = await working.main()
    tasks = [*(each.task for each in outcome.done), *outcome.left]
    assert outcome.done[0].task == working.FIRST
    assert len(tasks) == len({task.casefold() for task in tasks})
    assert len(tasks) <= 1 + 2 * len(outcome.done)
    assert outcome.stopped in {"empty", "reached"}
    assert (len(outcome.done) == 2) == (outcome.stopped == "reached")


@pytest.mark.engine
async def test_a_chain_takes_one_of_its_branches_and_streams_to_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    chain = example("chains")
    found = await chain.main()
    assert [each.kind in {"complaint", "question"} for each in found] == [True, True]
    assert all(each.topic in {"delivery", "products", "payment"} and each.answer for each in found)
    assert "the stream ends in the same: True" in capsys.readouterr().out


@pytest.mark.engine
async def test_the_design_s_own_example_keeps_its_budget_and_is_judged_and_saved() -> None:
    run, best = await example("support").main(calls=16, rows=3)
    assert 0 < run.budget.spent.calls <= 16
    assert {"route.model.accept", "support.k", "answer.model", "answer.strategy"} <= set(run.tuning.sets)
    assert best.certificate is not None
    assert best.certificate.gain.n == 3
    assert best.certificate.verdict == "no real gain"  # three rows show nothing
