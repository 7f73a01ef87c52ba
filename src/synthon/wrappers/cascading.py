"""Ask a cheap model first, and a dear one where the cheap one is not sure."""

from __future__ import annotations

import json
import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from synthon.core.asking import without_content
from synthon.core.errors import Unsupported, UserError
from synthon.core.protocols import Span, discard
from synthon.core.running import current_span, span
from synthon.core.settings import Knob, current
from synthon.core.stream import Draft
from synthon.wrappers.soundness import Judge, soundness_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from synthon.core.protocols import Emit, Model
    from synthon.core.values import Capability, Completion, Request


@dataclass(frozen=True)
class cascade:  # noqa: N801 - users call it as a function
    """The cheap model's answer where its confidence reaches `accept`, else the dear model's.

    FrugalGPT (Chen, Zaharia and Zou 2023, arXiv:2305.05176) with the cheap model's own probabilities as the scorer:
    `confidence` says which. More models: `cascade(cascade(a, b, accept=...), c, accept=...)`.

    It stands outside the journal, over journaled models: each call is a row and is metered as its own model's, and
    another threshold asks the cheap model nothing new. Each decision is a row of the trace, see `confidences`.
    It can do what both models can. What the cheap model streamed is taken back, or held until it stands.

    Attributes:
        accept: in 0..1, a number or a knob. At 0 every answer of the cheap model stands; at 1 only one that it is
            certain of as far as floats tell, so that nearly all go to the dear model.
    """

    cheap: Model
    dear: Model
    _: KW_ONLY
    accept: float

    def __post_init__(self) -> None:
        for model in (self.cheap, self.dear):
            if isinstance(model, Knob):
                msg = (
                    f"A cascade was given {model!r} for a model. Make whole cascades the values: "
                    "model=sy.one_of(sy.cascade(a, c, accept=...), sy.cascade(b, c, accept=...))."
                )
                raise UserError(msg)
            if not hasattr(model, "complete"):
                raise UserError(
                    f"A cascade was given {model!r:.200} for a model. Pass one: sy.openai(...), sy.local()."
                )
        if not isinstance(self.accept, Knob):
            _ = self._accept

    @property
    def name(self) -> str:
        """Both names and the threshold; how saved programs name it."""
        return f"cascade({self.cheap.name}, {self.dear.name}, accept={self.accept!r})"

    @property
    def identity(self) -> str:
        """What decides its answers here and now; what it asks has rows of its own."""
        return f"cascade({self.cheap.identity},{self.dear.identity},{self._accept!r})"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What both can do."""
        return self.cheap.capabilities & self.dear.capabilities

    @property
    def soundness(self) -> Judge | None:
        """How both answer for constraints."""
        return soundness_of([self.cheap, self.dear])

    @property
    def _accept(self) -> float:
        accept = current(self.accept)
        if not hasattr(accept, "__float__") or not 0 <= accept <= 1:
            msg = f"The cascade {self.name!r} is to accept at {accept!r}. Pass a probability in 0..1."
            raise UserError(msg)
        return accept

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The answer that stands, as its model gave it; `Completion.model` says which that is.

        Raises:
            Unsupported: the cheap model cannot report how sure it is.
            UserError: a journaled model stands around it, or the threshold is no probability.
        """
        accept, above = self._accept, current_span()
        if above is not None and above.kind == "call":
            msg = (
                f"{self.name!r} was called inside journaled model {above.name!r}, which would keep what another "
                "threshold decides otherwise. Journal its two models, not the cascade."
            )
            raise UserError(msg)
        draft = Draft(emit)
        completion = await self.cheap.complete(self._asked(request), emit if emit is discard else draft)
        completion = await _calibrated(self.cheap, request, completion)
        sure = confidence(request, completion)
        stands = sure >= accept
        with span(self.name, inputs={"accept": accept}) as opened:
            opened.output = {
                "confidence": sure,
                "accepted": stands,
                "model": (self.cheap if stands else self.dear).name,
            }
        if stands:
            draft.keep()
            return completion
        draft.withdraw()
        return await _calibrated(self.dear, request, await self.dear.complete(request, emit))

    def _asked(self, request: Request) -> Request:
        needed: Capability = "score" if request.continuations else "logprobs"
        if needed not in self.cheap.capabilities:
            msg = (
                f"The cascade {self.name!r} cannot tell how sure {self.cheap.name!r} is, which lacks {needed!r}. "
                "Put a model first that has it: sy.local(), or for text sy.openai(..., server='vllm')."
            )
            raise Unsupported(msg)
        return request if request.continuations else replace(request, logprobs=max(request.logprobs, 1))


async def _calibrated(model: Model, request: Request, completion: Completion) -> Completion:
    """The completion with what its own model gives the options without content, where the request wants that."""
    if not request.neutral or completion.neutral:
        return completion
    return replace(completion, neutral=await without_content(model, request))


def confidence(request: Request, completion: Completion) -> float:
    """How sure a model is of its answer, in 0..1.

    Of given options: the best one's probability if the answer is one of them, which is the softmax over the options'
    whole log-probabilities, not divided by their lengths; under `calibrate` less what each scores without content, as
    the step chooses. Of text: the geometric mean of its tokens' probabilities, before any mask. 0.0 where no token's
    is known (an empty answer, tool calls at most endpoints), where one is nan or the text leaves its constraint unmet.
    """
    if request.continuations:
        neutral = [score.logprob for score in completion.neutral] or [0.0] * len(completion.scores)
        scores = [score.logprob - less for score, less in zip(completion.scores, neutral, strict=True)]
        return 1 / math.fsum(math.exp(score - max(scores)) for score in scores)
    if completion.unmet or not completion.logprobs:
        return 0.0
    sure = math.exp(math.fsum(token.logprob for token in completion.logprobs) / len(completion.logprobs))
    return min(1.0, sure) if sure > 0 else 0.0


def confidences(rows: Iterable[object], of: cascade) -> dict[str, float]:
    """Each decision of a cascade in the rows of a journal: the id of the step's span to its confidence, in order.

    Of a step that asked more than once, the last. Confidences do not depend on the threshold.
    """
    decided = [row for row in rows if isinstance(row, Span) and row.name == of.name and row.output]
    return {row.parent: json.loads(row.output)["confidence"] for row in decided}


def escalated(confidences: Sequence[float], thresholds: Sequence[float]) -> dict[float, float]:
    """For each threshold the share of answers, 0..1, that go to the dear model: a recorded pass decides it."""
    return {accept: sum(sure < accept for sure in confidences) / max(len(confidences), 1) for accept in thresholds}
