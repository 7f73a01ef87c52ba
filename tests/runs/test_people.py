"""Questions to people: a run ends at one and goes on with the answer, in another process if need be."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, computed_field

import synthon as sy
from synthon.core.protocols import RunRecord
from synthon.runs import answer, cancel, effect, questions, resume
from tests.core.counting import Counting


@sy.step
async def draft(topic: str) -> str:
    """Draft a letter."""
    ...


sent: list[str] = []


@sy.program
async def letter(topic: str, *, style: Path | None = None) -> str:
    text = await draft(topic)
    said = await sy.ask_person(f"Send {text!r}?", choices=["yes", "no"])
    if said == "yes":

        async def act(key: str) -> str:
            sent.append(key)
            return json.dumps(key)

        await effect("send", text, act, honours_key=True)
    return f"{said} {type(style).__name__}"


async def test_nobody_is_asked_in_the_middle_of_an_act(tmp_path: Path) -> None:
    async def act(key: str) -> str:
        return json.dumps(await sy.ask_person("Really?"))

    async def acts() -> None:
        await effect("send", "tea", act, honours_key=False)

    with (
        sy.SQLiteJournal(tmp_path / "journal.db") as journal,
        pytest.raises(sy.UserError, match=r"'Really\?' is asked inside the act 'send'.*Ask in the program"),
    ):
        await sy.run(acts, run_id="r", journal=journal)


async def test_a_batch_is_no_run_to_resume_and_stays_as_it_ended() -> None:
    journal = sy.MemoryJournal()
    await sy.run_many(sy.program(echoed), ["a", "b"], run_id="batch", journal=journal)
    with pytest.raises(sy.UserError, match=r"'batch' was given what 'echoed' does not take.*sy\.run_many"):
        await resume(journal, "batch", program=sy.program(echoed))
    kept = journal.run("batch")
    assert kept is not None
    assert kept.status == "done"


async def echoed(text: str) -> str:
    return text


async def test_two_choices_that_differ_in_case_are_told_apart() -> None:
    @sy.program
    async def place() -> str:
        return await sy.ask_person("Where?", choices=["US", "us"])

    journal = sy.MemoryJournal()
    with pytest.raises(sy.Suspended):
        await sy.run(place, run_id="r", journal=journal)
    await answer(journal, "r", "us")
    assert await resume(journal, "r", program=place) == "us"


async def test_choices_are_a_list() -> None:
    with pytest.raises(sy.UserError, match=r"choices of 'ok\?' are the text 'yes'. Pass a list, such as \['yes'\]"):
        await sy.run(lambda: sy.ask_person("ok?", choices="yes"), run_id="r", journal=sy.MemoryJournal())


async def suspended(journal: sy.Journal, model: sy.Model) -> None:
    with pytest.raises(sy.Suspended, match=r"waits for a person: Send .* Answer with `synthon runs answer r TEXT`"):
        await sy.run(letter.using(model=model), "tea", style=Path("x"), run_id="r", journal=journal)


async def test_a_run_is_suspended_and_goes_on_with_the_answer(tmp_path: Path) -> None:
    counting = Counting()
    model = sy.Journaled(counting)
    sent.clear()
    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        await suspended(journal, model)
        kept = journal.run("r")
        assert kept is not None
        assert (kept.status, kept.source) == ("suspended", f"{__name__}:letter?")
    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        (question,) = questions(journal, "r")
        assert question.choices == ("yes", "no")
        with pytest.raises(sy.UserError, match="'maybe' is none of the choices of"):
            await answer(journal, "r", "maybe")
        await suspended(journal, model)
        await answer(journal, "r", " YES ")
        assert questions(journal, "r") == []
        result = await resume(journal, "r", program=letter.using(model=model))
        assert result == "yes PosixPath"  # the argument is what its annotation says
        assert await resume(journal, "r", program=letter.using(model=model)) == result
    assert (counting.calls, len(sent)) == (1, 1)


async def test_a_run_is_resumed_by_its_id_alone(tmp_path: Path) -> None:
    """Processes that ask, answer and go on, twice over; the model is asked once."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "beside.py").write_text("greeting = 'Dear all, '\n")
    (tmp_path / "jobs" / "app.py").write_text(
        "import asyncio, sys, synthon as sy\n"
        "from pathlib import Path\n"
        "from beside import greeting\n"
        "def say(request):\n"
        "    with Path('calls').open('a') as file: file.write('x')\n"
        "    return greeting + 'a draft'\n"
        "model = sy.Journaled(sy.FunctionModel(say, identity='say'))\n"
        "@sy.step(model=model)\n"
        "async def draft(topic: str) -> str:\n"
        "    '''Draft.'''\n"
        "    ...\n"
        "@sy.program\n"
        "async def letter(topic: str) -> str:\n"
        "    text = await draft(topic)\n"
        "    return f\"{text}: {await sy.ask_person('Send it?')}, {await sy.ask_person('When?')}\"\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(sy.run(letter, 'tea', run_id='r', journal=sy.SQLiteJournal('journal.db')))\n"
    )

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False)

    def runs(*command: str) -> subprocess.CompletedProcess[str]:
        return call(sys.executable, "-m", "synthon", "runs", *command, "--journal", "journal.db")

    first = call(sys.executable, "jobs/app.py")
    assert "Suspended: The run 'r' waits for a person: Send it?" in first.stderr
    listed = runs("list").stdout
    assert "Send it?" in listed
    assert runs("answer", "r", "do").returncode == 0
    assert "waits for a person: When?" in runs("resume", "r").stderr
    assert runs("answer", "r", "now").returncode == 0
    resumed = runs("resume", "r")
    assert (resumed.returncode, resumed.stdout.strip()) == (0, '"Dear all, a draft: do, now"'), resumed.stderr
    assert (tmp_path / "calls").read_text() == "x"


async def test_calls_in_flight_end_before_the_run_is_suspended() -> None:
    counting = Counting(waits_s=0.1)

    @sy.program
    async def system() -> list[str]:
        return [*await asyncio.gather(draft("a"), draft("b"), sy.ask_person("Well?"))]

    journal = sy.MemoryJournal()
    program = system.using(model=sy.Journaled(counting))
    with pytest.raises(sy.Suspended):
        await sy.run(program, run_id="r", journal=journal)
    assert (counting.calls, counting.running) == (2, 0)
    await answer(journal, "r", "well")
    assert (await sy.run(program, run_id="r", journal=journal))[2] == "well"
    assert counting.calls == 2


async def test_several_questions_are_answered_by_their_place() -> None:
    @sy.program
    async def system() -> list[str]:
        return await asyncio.gather(*(sy.ask_person(text) for text in ("a?", "b?", "b?")))

    journal = sy.MemoryJournal()
    with pytest.raises(sy.Suspended):
        await sy.run(system, run_id="r", journal=journal)
    found = questions(journal, "r")
    assert sorted(each.text for each in found) == ["a?", "b?", "b?"]
    with pytest.raises(sy.UserError, match="has 3 open questions"):
        await answer(journal, "r", "x")
    for number, each in enumerate(sorted(found, key=lambda each: each.text)):
        await answer(journal, "r", str(number), place=each.place)
    result = await sy.run(system, run_id="r", journal=journal)
    assert result[0] == "0"
    assert sorted(result[1:]) == ["1", "2"]


async def test_questions_of_a_task_group_suspend_the_run_too() -> None:
    @sy.program
    async def asks(*, fails: bool) -> list[str]:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(sy.ask_person(text)) for text in ("a?", "b?")]
            if fails:
                raise ValueError("no")
        return [task.result() for task in asked]

    journal = sy.MemoryJournal()
    for run, fails, status in (("r", False, "suspended"), ("f", True, "failed")):
        with pytest.raises(BaseExceptionGroup):
            await sy.run(asks, fails=fails, run_id=run, journal=journal)
        kept = journal.run(run)
        assert kept is not None
        assert kept.status == status
    first, second = questions(journal, "r")
    await answer(journal, "r", f"to {first.text}", place=first.place)
    await answer(journal, "r", f"to {second.text}", place=second.place)
    assert await resume(journal, "r", program=asks) == ["to a?", "to b?"]


async def test_a_question_asked_where_nothing_can_be_resumed_is_refused() -> None:
    with pytest.raises(sy.UserError, match="needs a run that can be resumed"):
        await sy.ask_person("Well?")

    @sy.program
    async def system() -> str:
        return await sy.ask_person("Well?")

    with pytest.raises(sy.UserError, match="needs a run that can be resumed"):
        await sy.run(system, policy="off")


async def test_pruning_keeps_what_a_suspended_run_did_in_a_run_inside_it(tmp_path: Path) -> None:
    acts: list[str] = []

    async def act(key: str) -> str:
        acts.append(key)
        return "1"

    @sy.program
    async def send() -> str:
        return await effect("send", "hello", act, honours_key=False)

    @sy.program
    async def asks() -> str:
        await sy.run(send)
        return await sy.ask_person("Was that right?")

    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        for _ in range(2):
            with pytest.raises(sy.Suspended):
                await sy.run(asks, run_id="r", journal=journal)
            journal.prune(time.time() + 1)
    assert len(acts) == 1


async def test_a_cancelled_run_waits_for_nobody() -> None:
    journal = sy.MemoryJournal()
    await suspended(journal, sy.Journaled(Counting()))
    await cancel(journal, "r")
    kept = journal.run("r")
    assert kept is not None
    assert kept.status == "cancelled"
    with pytest.raises(sy.UserError, match="cannot be cancelled: it is cancelled"):
        await cancel(journal, "r")


async def test_a_run_that_cannot_be_found_again_says_why() -> None:
    journal = sy.MemoryJournal()
    with pytest.raises(sy.UserError, match="is not in MemoryJournal"):
        await resume(journal, "nobody")
    await suspended(journal, sy.Journaled(Counting()))
    with pytest.raises(sy.UserError, match="it ran under settings, or was no function of a module"):
        await resume(journal, "r")
    with pytest.raises(sy.UserError, match=r"'nowhere:letter' cannot be found: ModuleNotFoundError"):
        await resume(journal, "r", program="nowhere:letter")


async def test_a_record_says_where_its_program_is_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inner() -> str:
        return "x"

    @sy.program
    async def told() -> str:
        return "x"

    async def source(program: Callable[[], Awaitable[str]]) -> str:
        journal = sy.MemoryJournal()
        await sy.run(program, run_id="r", journal=journal)
        kept = journal.run("r")
        assert kept is not None
        return kept.source

    assert await source(inner) == await source(told) == ""  # made in a function: no place to import it from
    monkeypatch.setattr(inner, "__qualname__", "inner")
    assert await source(inner) == f"{__name__}:inner"
    monkeypatch.setattr(inner, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "app.py", raising=False)
    assert await source(inner) == "app.py:inner"


@sy.program
async def total(unit: str, *numbers: int, sign: str = "") -> str:
    said = await sy.ask_person("Sure?")
    return f"{sign}{sum(numbers)} {unit}, {said}"


async def test_a_row_of_a_batch_is_resumed_by_its_id_with_all_its_arguments() -> None:
    journal = sy.MemoryJournal()
    await sy.run_many(total, [("francs", 1, 2, 3), {"unit": "m", "sign": "-"}], run_id="batch", journal=journal)
    for run, result in (("batch/0", "6 francs, yes"), ("batch/1", "-0 m, yes")):
        await answer(journal, run, "yes")
        kept = journal.run(run)
        assert kept is not None
        assert kept.source == f"{__name__}:total"
        assert await resume(journal, run, program=total) == result


@sy.program
async def joined(sep: str = "", *, args: list[str], kwargs: dict[str, int] | None = None) -> str:
    return f"{sep.join(args)}, {kwargs}, {await sy.ask_person('Sure?')}"


@pytest.mark.parametrize(("sep", "kwargs"), [((), {}), ((), {"kwargs": {"n": 1}}), (("+",), {"kwargs": {"n": 1}})])
async def test_parameters_may_be_called_args_and_kwargs(sep: tuple[str, ...], kwargs: dict[str, Any]) -> None:
    journal = sy.MemoryJournal()
    with pytest.raises(sy.Suspended):
        await sy.run(partial(joined, *sep, args=["a", "b"], **kwargs), run_id="r", journal=journal)
    await answer(journal, "r", "yes")
    assert await resume(journal, "r", program=joined) == f"{''.join(sep).join('ab')}, {kwargs.get('kwargs')}, yes"


@pytest.mark.parametrize("kept", ['{"args":["+",["a","b"]]}', '{"args":["+",["a","b"]],"kwargs":{"n":1}}'])
async def test_arguments_in_the_form_of_earlier_journals_are_read(kept: str) -> None:
    @sy.program
    async def two(sep: str, parts: list[str], kwargs: dict[str, int] | None = None) -> str:
        return f"{sep.join(parts)} {kwargs}"

    journal = sy.MemoryJournal()
    journal.write(RunRecord("r", "two", kept, "suspended", 1.0))
    assert await resume(journal, "r", program=two) == f"a+b {json.loads(kept).get('kwargs')}"


@sy.program
async def measured(picture: bytes, more: list[str], sizes: tuple[int, ...] = (), at: Path | None = None) -> str:
    return f"{picture!r} {more} {sizes} {at}, {await sy.ask_person('Sure?')}"


async def test_bytes_and_half_characters_come_back_as_they_were() -> None:
    journal = sy.MemoryJournal()
    for run, picture, more in (("a", b"\xff\xd8", ["x"]), ("b", b"x", ["\ud800"]), ("c", b"\xff", ["\ud800"])):
        with pytest.raises(sy.Suspended):
            await sy.run(measured, picture, more, sizes=(1, 2), run_id=run, journal=journal)
        await answer(journal, run, "yes")
        assert await resume(journal, run, program=measured) == f"{picture!r} {more} (1, 2) None, yes"


async def test_arguments_that_no_record_can_hold_are_named_and_python_goes_on_with_the_run() -> None:
    journal = sy.MemoryJournal()
    call = partial(measured, b"\xff", [], at=Path("x"))
    with pytest.raises(sy.Suspended):
        await sy.run(call, run_id="r", journal=journal)
    await answer(journal, "r", "yes")
    with pytest.raises(
        sy.UserError, match=r"cannot be read back: .*PosixPath.*`sy.run\(program, \.\.\., run_id='r'\)`"
    ):
        await resume(journal, "r", program=measured)
    assert await sy.run(call, run_id="r", journal=journal) == r"b'\xff' [] () x, yes"


class Order(BaseModel, extra="forbid"):
    amount: int = Field(1, serialization_alias="count")
    place: str = Field("", alias="where")

    @computed_field  # type: ignore[prop-decorator] # as Pydantic's own docs have it
    @property
    def twice(self) -> int:
        return 2 * self.amount


@sy.program
async def deliver(order: Order) -> str:
    return f"{order.amount} to {order.place}, {await sy.ask_person('Sure?')}"


def changed() -> sy.Program[[int], int]:
    """The program of that name as it might be today."""

    @sy.program
    async def deliver(order: int) -> int:
        return order

    return deliver


@sy.program
async def other(order: Order) -> str:
    return "something else"


def plain(order: Order) -> str:
    return "no coroutine"


async def test_a_resumed_run_gets_the_arguments_it_had_or_says_why_not() -> None:
    journal = sy.MemoryJournal()
    with pytest.raises(sy.Suspended):
        await sy.run(deliver, Order(amount=5, where="Bern"), run_id="r", journal=journal)
    await answer(journal, "r", "yes")
    with pytest.raises(sy.UserError, match="'place': 'Bern'} is no <class 'int'> any more"):
        await resume(journal, "r", program=changed())
    before = journal.run("r")
    with pytest.raises(sy.UserError, match="Run 'r' is of 'deliver', and 'other' was given"):
        await resume(journal, "r", program=other)
    for wrong in (plain, 3):
        with pytest.raises(sy.UserError, match="is no async function, so run 'r' is not of it"):
            await resume(journal, "r", program=wrong)  # type: ignore[arg-type] # what the shell may name
    with pytest.raises(sy.UserError, match=r"'\.jobs:letter' cannot be found: TypeError"):
        await resume(journal, "r", program=".jobs:letter")
    assert journal.run("r") == before
    assert await resume(journal, "r", program=deliver) == "5 to Bern, yes"


async def test_a_type_that_is_there_for_checkers_only_is_named() -> None:
    async def paid(amount: "Decimal") -> None:  # type: ignore[name-defined]  # noqa: F821
        await sy.ask_person("Pay?")

    journal = sy.MemoryJournal()
    with pytest.raises(sy.Suspended):
        await sy.run(paid, "5", run_id="r", journal=journal)
    await answer(journal, "r", "yes")
    with pytest.raises(sy.UserError, match=r"name 'Decimal' is not defined.*outside `if TYPE_CHECKING:`, or go on"):
        await resume(journal, "r", program=paid)
    await sy.run(paid, "5", run_id="r", journal=journal)


async def test_a_script_that_is_no_python_or_fails_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    journal = sy.MemoryJournal()
    await suspended(journal, sy.Journaled(Counting()))
    (tmp_path / "app.py").write_text("letter = 1 +\n")
    with pytest.raises(sy.UserError, match=r"cannot be found: SyntaxError"):
        await resume(journal, "r", program=f"{tmp_path / 'app.py'}:letter")


class Item(BaseModel):
    name: str


class Fragile(Item):
    note: str = ""


@dataclass
class Basket:
    items: list[Item]


@sy.program
async def deliver_all(basket: Basket) -> str:
    return f"{len(basket.items)}, {await sy.ask_person('Now?')}"


async def test_fields_of_a_subclass_are_not_lost_without_a_word() -> None:
    journal = sy.MemoryJournal()
    basket = Basket([Item(name="pen"), Fragile(name="vase", note="up")])
    with pytest.raises(sy.Suspended):
        await sy.run(deliver_all, basket, run_id="r", journal=journal)
    await answer(journal, "r", "yes")
    with pytest.raises(sy.UserError, match=r"has a field that <class '.*Basket'> has not: 'items\.1\.note'"):
        await resume(journal, "r", program=deliver_all)
    assert await sy.run(deliver_all, basket, run_id="r", journal=journal) == "2, yes"
