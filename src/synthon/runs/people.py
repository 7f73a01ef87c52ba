"""Questions to people: a run that asks one ends here and goes on, maybe days later and elsewhere, with the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from shlex import quote

from synthon.core.errors import Suspended, UserError
from synthon.core.identity import digest, dumps
from synthon.core.protocols import CallRecord, Journal, Key, Span
from synthon.core.recording import Entry
from synthon.core.running import acting, current_span, new_id, span

_MARK = "synthon.question"  # the only name in a row that is no answer


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asked a person; `place` is where the answer belongs, `choices` what it may be (empty: any text)."""

    place: str
    text: str
    choices: tuple[str, ...] = ()

    def answered(self, said: str) -> str:
        """What was said, as one of the choices.

        Raises:
            UserError: it is none of them.
        """
        alike = [choice for choice in self.choices if choice.strip().casefold() == said.strip().casefold()]
        found = [said] if said in alike else alike
        if self.choices and not found:
            raise UserError(f"{said!r} is none of the choices of {self.text!r}: {', '.join(self.choices)}.")
        return found[0] if found else said


async def ask_person(question: str, *, choices: Sequence[str] = ()) -> str:
    """What a person answers. The first time the run is suspended; resumed after the answer, it goes on with it.

    The question is on disk, and no call of the run is in flight, before `Suspended` ends this life of it. Then
    `synthon runs answer RUN TEXT` and `synthon runs resume RUN`, or `runs.answer` and `runs.resume`, in any process.
    Calls that went on in other tasks when the run is suspended are made again if they had not ended.

    Args:
        question: for the person.
        choices: what may be answered, without regard to case; any text where there are none.

    Raises:
        Suspended: the question waits for its answer.
        UserError: there is no run that could be resumed, this is part of an act on the world, or `choices` is a text.
    """
    if isinstance(choices, str):
        raise UserError(f"The choices of {question!r} are the text {choices!r}. Pass a list, such as [{choices!r}].")
    with span("ask_person", "span", {"question": question, "choices": list(choices)}) as opened:
        run, journal = opened.run, opened.run.journal
        if run.owner is None or journal is None or run.policy in {"off", "read_only"}:
            msg = (
                f"The question {question!r} needs a run that can be resumed with its answer: call `ask_person` in a "
                "@sy.program that runs with a journal, best as sy.run(program, ..., run_id='a name')."
            )
            raise UserError(msg)
        if effect := acting.get():
            msg = (
                f"The question {question!r} is asked inside the act {effect!r}: a run that ends there cannot know what "
                "was done before. Ask in the program, or in a tool without effects, and act after the answer."
            )
            raise UserError(msg)
        asked = _asked(question, choices)
        entry = Entry(run, asked, repeats=True, own=True)
        found = Question(entry.key.digest, question, tuple(choices))
        opened.row.key = found.place
        place = digest(f"{found.place} asked")
        run.touched.add(place)
        row = entry.read()
        if row is not None:
            opened.row.hit = True
            return found.answered(str(json.loads(row)))
        run.write(CallRecord(Key(run.id, place), asked, dumps({_MARK: asdict(found)}), _shown(run.id, "asked")))
        await run.quiet()
        await journal.durable()
        told = f"`synthon runs answer {quote(run.id)} TEXT`, then `synthon runs resume {quote(run.id)}`."
        msg = f"The run {run.id!r} waits for a person: {question} Answer with {told}"
        raise Suspended(msg)


def questions(journal: Journal, run: str) -> list[Question]:
    """What a run has asked and nobody has answered."""
    rows = {each: journal.read(Key(run, each)) or "" for each in journal.digests(run)}
    marks = [json.loads(row)[_MARK] for row in rows.values() if row.startswith(f'{{"{_MARK}":')]
    found = [Question(mark["place"], mark["text"], tuple(mark["choices"])) for mark in marks]
    return [each for each in found if each.place not in rows]


async def answer(journal: Journal, run: str, text: str, *, place: str = "") -> Question:
    """Keep a person's answer to a run's question; `place` says to which, where there are several.

    Raises:
        UserError: there is no such question, or more than one, or the answer is none of its choices.
    """
    found = [each for each in questions(journal, run) if each.place.startswith(place)]
    if len(found) != 1:
        shown = "; ".join(f"{each.place[:12]} {each.text!r}" for each in found) or "none"
        msg = f"Run {run!r} has {len(found)} open questions: {shown}. Name the one by the letters before it."
        raise UserError(msg)
    row = json.dumps(found[0].answered(text))
    asked = _asked(found[0].text, found[0].choices)
    journal.write(CallRecord(Key(run, found[0].place), asked, row, _shown(run, "answered")))
    await journal.durable()
    return found[0]


def _asked(question: str, choices: Sequence[str]) -> str:
    return dumps({"call": "sy.ask_person", "arguments": {"question": question, "choices": list(choices)}})


def _shown(run: str, what: str) -> Span:
    above, now = current_span(), time.time()
    return Span(new_id(), run, "" if above is None else above.id, f"ask_person: {what}", "span", now, now)
