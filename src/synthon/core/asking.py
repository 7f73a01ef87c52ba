"""One call of a step: its conversation with the model, from the first request to a value that stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from synthon.core.blame import Amendment, amendments, blame, mended
from synthon.core.budget import counts
from synthon.core.constraints import Constraint, Layout, Schema, Soundness
from synthon.core.errors import CheckFailed, OutputError, Unsupported, UserError
from synthon.core.identity import dumps
from synthon.core.light import dataclass
from synthon.core.protocols import Emit, Model, discard
from synthon.core.render import Demo, Rendering
from synthon.core.repair import Repair, dotted, repair
from synthon.core.running import current_run, sink, span
from synthon.core.settings import MODEL, Demos, ambient, current
from synthon.core.stream import Draft
from synthon.core.values import Completion, Delta, Message, Request, Score
from synthon.core.verdicts import Failure
from synthon.core.wording import wording

if TYPE_CHECKING:
    from synthon.core.step import Check, Step

_NOTHING = "N/A"  # the content-free input


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a call would send: its messages, its constraint, and what the model will do with that, keyword by keyword.

    `soundness` is empty where no constraint is sent, or the model does not say.
    """

    messages: list[Message]
    constraint: Constraint | None
    soundness: tuple[Soundness, ...]


class Asking:
    """A step, its inputs and its model, while they work on one answer."""

    def __init__(self, step: Step[Any, Any], inputs: Mapping[str, object]) -> None:
        self.step, self.inputs, self.output = step, inputs, step.output
        model = step.setting("model")
        self.model = cast("Model | None", current(ambient().get(MODEL)) if model is None else model)
        if self.model is not None and not hasattr(self.model, "complete"):
            msg = f"Step {step.name!r} has {self.model!r} for a model. Pass a model: sy.openai(...), sy.local(), ..."
            raise UserError(msg)
        self.constraint = cast("Constraint | None", step.setting("constraint"))
        self.fits_left = step.retries
        self.tries_left = {id(check): check.retries for check in step.checks}
        self.tries_left |= {id(guard): guard.retries for guard in step.guards}
        self.value: object = None
        self.done = False
        self.repair: Repair | None = None
        self.neutral: tuple[Score, ...] = ()
        self.is_rewritten = False
        self.failures: list[Amendment] = []

    async def messages(self) -> list[Message]:
        """The exact messages of the first request."""
        return self._rendered(self.inputs, await self._demos())

    async def _demos(self) -> Sequence[Demo]:
        chosen = self.step.setting("demos")
        if chosen == ():
            return ()
        demos = chosen if isinstance(chosen, Sequence) else [*await cast("Demos", chosen).select(self.inputs)]
        for each in demos:
            if not isinstance(each, Demo) or not each.inputs.keys() <= self.inputs.keys():
                msg = f"Step {self.step.name!r} takes {list(self.inputs)}, and is shown the example {each!r:.200}."
                raise UserError(f"{msg} Pass sy.Demo({{'an input': ...}}, output), with none but its inputs.")
        return demos

    def _rendered(self, inputs: Mapping[str, object], demos: Sequence[Demo]) -> list[Message]:
        talks, output = self.step.talks, self.output
        rest = {name: value for name, value in inputs.items() if name not in talks} if talks else inputs
        history = [turn for name in talks for turn in cast("Sequence[Message]", inputs[name])]
        answers = [output.written(demo.output, cast("Layout", self.step.setting("layout"))) for demo in demos]
        expected = output.expected if self.constraint is None else wording(self.constraint)
        return self.step.render(Rendering(self.step.instruction, rest, demos, answers, history, expected))

    async def explained(self) -> Explanation:
        """What `start` would send."""
        messages = await self.messages()
        asked = {} if self.model is None else self._demanded(self.model)
        constraint = cast("Constraint | None", asked.get("constraint", self.constraint))
        says = getattr(self.model, "soundness", None)
        soundness = () if constraint is None or says is None else says(constraint)
        return Explanation(messages, constraint, soundness)

    def _demanded(self, model: Model) -> dict[str, Any]:
        """The shape as this model takes it: options to score, a constraint, or nothing and the answer is read."""
        able = model.capabilities
        if self.constraint is not None:
            return {"constraint": self.constraint}
        if self.output.choice is not None and "score" in able:
            return {"continuations": self.output.choice.options}
        if self.output.constraint is not None and "schema" in able:
            layout, plain = cast("Layout", self.step.setting("layout")), self.output.constraint
            return {"constraint": plain if plain.layout == layout else replace(plain, layout=layout)}
        return {}

    async def start(self, opened: span) -> Model:
        """Prepare the first request; returns the model to ask.

        Raises:
            UserError: no model was named, or budgets would not see what it is asked.
        """
        step, model = self.step, self.model
        if model is None:
            msg = f"Step {step.name!r} has no model. Pass @sy.step(model=...), or call program.using(model=...)."
            raise UserError(msg)
        if opened.run.budgets and not counts(model):
            msg = f"Step {step.name!r} runs under a budget and asks {model.name!r}, whose calls no budget sees: it "
            msg += "keeps no journal. Wrap it: sy.Journaled(model, price=sy.Price(...)); one that asks journaled "
            raise UserError(f"{msg}models itself, or nobody, says `counts = True`.")
        listener = sink.get()
        self.emit: Emit = discard
        if listener is not None:
            named = listener.of(step.name, opened.row.id, step.output)
            stands = step.output.is_text and not self.tries_left and self.constraint is None
            self.emit = named if stands else Draft(named)
        self._refuse_what_nobody_holds(model)
        demos = await self._demos()
        sampled = cast("dict[str, Any]", step.sampled())
        messages = self._rendered(self.inputs, demos)
        for amendment in amendments(step.output):
            messages += [Message("assistant", amendment.failed), _mend(amendment.message)]
        self.request = Request(tuple(messages), **sampled, **self._demanded(model))
        self.whole = self.request.constraint
        if self.request.continuations and step.setting("calibrate"):
            nothing = dict.fromkeys(self.inputs, _NOTHING) | {talk: [Message("user", _NOTHING)] for talk in step.talks}
            self.request = replace(self.request, neutral=tuple(self._rendered(nothing, demos)))
        return model

    def _refuse_what_nobody_holds(self, model: Model) -> None:
        needed = "schema" if isinstance(self.constraint, Schema) else "grammar"
        if self.constraint is None or needed in model.capabilities or getattr(model, "soundness", None) is not None:
            return
        msg = (
            f"The model {model.name!r} cannot keep to the constraint of step {self.step.name!r}: it lacks {needed!r}, "
            "and nothing checks its answers. Wrap it in sy.Journaled and pass `check=True`, or use sy.local()."
        )
        raise Unsupported(msg)

    @property
    def listener(self) -> Emit:
        """Who hears the next answer: nobody, where it is only some fields of it."""
        return self.emit if self.repair is None else discard

    async def take(self, completion: Completion, model: Model) -> None:
        """Read a completion; one that does not fit is answered with what is wrong."""
        self.completion = completion
        self.read = False
        if self.request.neutral:
            self.neutral = completion.neutral or self.neutral or await without_content(model, self.request)
        try:
            self.value, self.read = self._parsed(completion), True
        except OutputError as error:
            if self.fits_left == 0:
                if completion.finish == "length":
                    limit = self.request.max_tokens or "the model's own"
                    error.args = (f"Cut off at its limit of tokens (max_tokens={limit}): raise it. {error}",)
                raise
            self.fits_left -= 1
            self._again(f"That does not fit: {error.reason}")  # quoting the text again makes a small model repeat it

    def _parsed(self, completion: Completion) -> object:
        if self.request.continuations:
            text = self.request.continuations[self._best(completion.scores)]
            self.emit(Delta(text=text))
            return self.output.parse(text)
        if completion.finish == "content_filter" and not completion.text:
            raise self.output.refusal("", "the provider's content filter left nothing of it")
        if self.constraint is not None and completion.unmet:
            shown = completion.text if len(completion.text) <= 200 else f"{completion.text[:200]}..."  # noqa: PLR2004
            msg = f"The model answered {shown!r}, which does not fit: {completion.unmet}"
            raise OutputError(msg, text=completion.text, expected=wording(self.constraint), reason=completion.unmet)
        return (self.repair or self.output).parse(completion.text)

    def _best(self, scores: Sequence[Score]) -> int:
        """The likeliest option; calibrated by what each scores without content (Zhao 2021, arXiv:2102.09690)."""
        before = [score.logprob for score in self.neutral] or [0.0] * len(scores)
        return max(range(len(scores)), key=lambda at: scores[at].logprob - before[at])

    async def judge(self) -> None:
        """Hold the value against the step's guards, then its checks; what fails is fed back."""
        if not self.read:
            return
        if await self._guarded() and await self._checked():
            self.done = True
            if self.failures:
                self._keep(self.failures, self.output.written(self.value))
            if isinstance(self.emit, Draft):
                if self.is_rewritten:
                    self.emit.withdraw()
                    self.emit(Delta(text=self.output.written(self.value)))
                self.emit.keep()

    async def _guarded(self) -> bool:
        failures: list[Failure] = []
        for guard in self.step.guards:
            verdict = await guard.judge(self.value, self.inputs)
            self.is_rewritten = self.is_rewritten or self.repair is not None
            if not failures and verdict.value is not self.value:  # a failure's path must still lead to its field
                self.is_rewritten = self.is_rewritten or verdict.value != self.value
                self.value = self.output.validated(verdict.value, self.value)
            if verdict.failed:
                said = "; ".join(failure.message for failure in verdict.failed)
                self._note(guard.name, said)
                self._count(id(guard), f"guard {guard.name!r}", guard.retries, guard.name, said)
                failures += verdict.failed
        if failures:
            told = [f"{dotted(self.value, each.path)}: {each.message}" for each in failures if each.path]
            whole = [failure.message for failure in failures if not failure.path]
            apart = not whole and self.constraint is None
            self.repair = repair(self.output, self.value, [failure.path for failure in failures]) if apart else None
            self._again("\n".join(whole + told))
        return not failures

    async def _checked(self) -> bool:
        for check in self.step.checks:
            message = await check.message(self.value, self.inputs)
            if message is None:
                self._keep(*mended(self.step, check, current_run()))
            elif not await self._let_pass(check, message):
                self.repair = None
                self._again(message)
                return False
        return True

    async def _let_pass(self, check: Check, message: str) -> bool:
        """Whether a failed check is a suggestion that was made often enough; False when this step is to ask again.

        Raises:
            CheckFailed: it is none, and no try is left.
            CancelledError: another step is to blame, and the program starts again.
        """
        if check.blame is not None:
            self.failures += await blame(self.step, check, message, current_run())
            self.tries_left[id(check)] = 0
        else:
            self._note(check.name, message)
        if check.level == "suggest" and self.tries_left[id(check)] == 0:
            self._keep([failure for failure in self.failures if failure.check == check.name])
            self.failures = [failure for failure in self.failures if failure.check != check.name]
            return True
        self._count(id(check), f"check {check.name!r}", check.retries, check.name, message)
        return False

    def _note(self, check: str, message: str) -> None:
        """Remember a failure until it is known what came of it."""
        self.failures.append(Amendment(self.output.written(self.value), message, check))

    def _keep(self, failures: Sequence[Amendment], corrected: str | None = None) -> None:
        """Write (failed, message, corrected): what training can learn from. Without `corrected` nothing mended it."""
        for failure in failures:
            with span(failure.check, "check", {"failed": failure.failed, "message": failure.message}) as opened:
                if corrected is None:
                    opened.row.error = failure.message
                else:
                    opened.output = corrected

    def _count(self, key: int, what: str, retries: int, name: str, message: str) -> None:
        if self.tries_left[key] == 0:
            self._keep(self.failures)
            said = message if message.endswith((".", "!", "?")) else f"{message}."
            msg = (
                f"Step {self.step.name!r} still fails its {what} after {retries} retries: {said} The last output was "
                f"{self.value!r}. Loosen the {what.partition(' ')[0]}, or give the step a better model."
            )
            raise CheckFailed(msg, check=name, output=self.value)
        self.tries_left[key] -= 1

    def withdraw(self) -> None:
        """Take back what streamed of an answer that does not stand."""
        if isinstance(self.emit, Draft):
            self.emit.withdraw()

    def _again(self, message: str) -> None:
        """Send the failed answer back with what is wrong with it; only the failed fields are asked for again."""
        self.withdraw()
        spoken = not self.request.continuations and not (self.read and self.is_rewritten)
        failed = self.completion.message if spoken else Message("assistant", self.output.written(self.value))
        rest = self.repair.expected if self.repair else "Answer again."
        turn = _mend(message, rest)
        asked = self.whole
        if self.repair is not None and isinstance(asked, Schema):
            asked = replace(asked, json=dumps(self.repair.schema))
        self.request = replace(self.request, messages=(*self.request.messages, failed, turn), constraint=asked)


async def without_content(model: Model, request: Request) -> tuple[Score, ...]:
    """What a model gives a request's options after its `neutral` messages."""
    return (await model.complete(replace(request, messages=request.neutral, neutral=()))).scores


def _mend(message: str, rest: str = "Answer again.") -> Message:
    """The turn that sends an answer back."""
    return Message("user", f"{message}\n{rest}")
