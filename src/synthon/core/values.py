"""What travels between programs, models and the journal: frozen values, nothing that acts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from typing import Literal, cast

from synthon.core.constraints import Constraint
from synthon.core.errors import UserError
from synthon.core.light import dataclass

Role = Literal["system", "user", "assistant", "tool"]
Capability = Literal["chat", "tools", "schema", "grammar", "logprobs", "score", "fork", "image"]
"""What a model can do beyond plain text; asking for more raises `Unsupported`."""
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text; `cache=True` marks the end of a prefix the provider may cache."""

    text: str
    cache: bool = False
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: base64 `data` of `media_type`, or a `url` the provider fetches."""

    data: str = ""
    media_type: str = "image/png"
    url: str = ""
    kind: Literal["image"] = "image"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A block of the model's reasoning, sent back unchanged in tool loops; `signature` is the provider's seal."""

    text: str
    signature: str = ""
    redacted: bool = False
    kind: Literal["reasoning"] = "reasoning"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool; `arguments` is its JSON object as text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    kind: Literal["tool_call"] = "tool_call"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call `call_id`."""

    call_id: str
    content: tuple[Text | Image, ...]
    is_error: bool = False
    kind: Literal["tool_result"] = "tool_result"


Part = Text | Image | Reasoning | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation: plain text, or parts."""

    role: Role
    content: str | tuple[Part, ...]

    @property
    def text(self) -> str:
        """The message's text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it; `parameters` is the JSON schema of its arguments, as text."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Request:
    """All that decides a model's answer.

    A last message of the assistant's is the beginning of the answer, which a model with the capability "fork" goes on
    with. `temperature=None` leaves the model's own default; 0.0 is greedy. `max_tokens` bounds the generated tokens.
    `continuations` asks for log-probabilities of these texts after the messages, in place of generated text.
    `extra` passes unknown parameters through to an endpoint, as JSON text. `sample` numbers equal requests
    within a run. `tool_choice` says whether one of the `tools` must be called, or none may be; to have one tool called,
    pass it alone. `salt` separates principals in prefix and semantic caches. `neutral` is the same question without
    content, for a model that chooses between models by calibrated scores. Neither is part of identity.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: Literal["auto", "required", "none"] = "auto"
    constraint: Constraint | None = None
    continuations: tuple[str, ...] = ()
    logprobs: int = 0
    extra: str = ""
    sample: int = 0
    salt: str = ""
    neutral: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used. Token counts are disjoint parts; `cost_usd` is None where no price is known.

    `input_tokens` are those neither read from nor written to the provider's cache; `reasoning_tokens` are a
    part of `output_tokens`. `attempts` counts requests sent to the provider.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    attempts: int = 1

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.input_tokens + self.cached_tokens + self.cache_write_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        known = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            sum(known) if known else None,
            self.attempts + other.attempts,
        )


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probability (natural log) of one continuation, the number of its tokens, and each one's own where known."""

    logprob: float
    tokens: int
    parts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token with its log-probability and the likeliest alternatives (text, log-probability)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's whole answer; `scores` follow the order of `Request.continuations`.

    `neutral` are the scores after `Request.neutral`, where what answered has asked for them; else it is empty.
    `unmet` says in words what of the request's constraint the text does not keep to; empty where it keeps to all.
    """

    __pydantic_config__ = {"ser_json_inf_nan": "strings"}  # noqa: RUF012 - Pydantic's name; a log-probability is -inf
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: tuple[Reasoning, ...] = ()
    scores: tuple[Score, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish = "stop"
    model: str = ""
    unmet: str = ""
    neutral: tuple[Score, ...] = ()

    @property
    def message(self) -> Message:
        """The answer as the assistant's turn, ready to be sent back in a tool loop."""
        if not self.tool_calls and not self.reasoning:
            return Message("assistant", self.text)
        text = (Text(self.text),) if self.text else ()
        return Message("assistant", (*self.reasoning, *text, *self.tool_calls))


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer of `step`; `reset` says: forget everything that came from this `span`."""

    text: str = ""
    reasoning: str = ""
    tool_call: ToolCall | None = None
    span: str = ""
    step: str = ""
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens; a part without a price of its own costs what input costs.

    Raises:
        UserError: a part is no number from 0 on.
    """

    input_usd: float
    output_usd: float
    cached_usd: float | None = None
    cache_write_usd: float | None = None

    def __post_init__(self) -> None:
        for name in ("input_usd", "output_usd", "cached_usd", "cache_write_usd"):
            usd: object = getattr(self, name)
            with suppress(TypeError, ValueError, OverflowError):  # a Decimal and text are numbers too
                usd = float(cast("float", usd))
            if not (isinstance(usd, float) and 0 <= usd < float("inf")) and (usd is not None or name[:5] != "cache"):
                raise UserError(f"A price has {name}={usd!r}. Pass dollars per million tokens, a number from 0 on.")
            object.__setattr__(self, name, usd)

    def cost_usd(self, usage: Usage) -> float:
        """What a call of this usage costs, in dollars."""
        cached = self.input_usd if self.cached_usd is None else self.cached_usd
        written = self.input_usd if self.cache_write_usd is None else self.cache_write_usd
        total = usage.input_tokens * self.input_usd + usage.output_tokens * self.output_usd
        return (total + usage.cached_tokens * cached + usage.cache_write_tokens * written) / 1e6


@dataclass(frozen=True, slots=True)
class Passage:
    """A found piece of a document: `text` equals the characters `start:end` of the document's text."""

    text: str
    document: str = ""
    start: int = 0
    end: int = 0
    score: float = 0.0
    title: str = ""
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
