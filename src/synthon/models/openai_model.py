"""Models behind any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from synthon.core.errors import UserError
from synthon.core.protocols import discard
from synthon.models._chat import ChatAnswer, chat_body
from synthon.models._fields import Server, promised_by
from synthon.models._http import checked_headers, checked_key, endpoint, host_of, joined, normalised
from synthon.models.prices import price_of
from synthon.wrappers.demands import declared, refuse_what_is_lacking
from synthon.wrappers.journaled import Journaled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from synthon.core.constraints import Constraint, Soundness
    from synthon.core.protocols import Emit
    from synthon.core.values import Capability, Completion, Price, Request
    from synthon.models._http import Endpoint

OPENAI_URL = "https://api.openai.com/v1"
_BASE: frozenset[Capability] = frozenset({"chat", "tools", "schema", "image"})
_OPEN: frozenset[Capability] = _BASE | {"fork", "grammar", "logprobs"}
CAPABILITIES: dict[Server, frozenset[Capability]] = {
    "openai": _BASE,
    "vllm": _OPEN,
    "sglang": _OPEN,
    "llama.cpp": _OPEN,
}
# Above this many tokens an answer takes so long that idle connections are cut: it is streamed even if nobody listens.
LONG_ANSWER = 20_000


def bearer(url: str, api_key: str | None) -> dict[str, str]:
    """The header that shows a key; `OPENAI_API_KEY` is read for OpenAI's own host only, so it goes nowhere else.

    Raises:
        UserError: OpenAI's own host without a key.
    """
    own = host_of(url) == "api.openai.com"
    key = checked_key(api_key or (os.environ.get("OPENAI_API_KEY") if own else None))
    if own and key is None:
        raise UserError(f"No API key for {url}. Set OPENAI_API_KEY, or pass `api_key=`.")
    return {"Authorization": f"Bearer {key}"} if key else {}


@dataclass(frozen=True)
class OpenAIChat:
    """A model behind `{base_url}/chat/completions`, without a journal.

    Args:
        model: the endpoint's name for it.
        name: what people call it; the model's name where empty.
        api_key: sent as a bearer token. Left out, `OPENAI_API_KEY` is read at the first call, for api.openai.com only.
        server: which server's fields carry a Choice, a Regex or a Grammar.
        capabilities: what the endpoint can; left out, what `server` is known for.
        timeout_s: seconds for the whole answer.
        headers: sent with each request; their values are kept out of sight like the key.
        max_connections: requests in flight in one event loop, to one origin; others wait.
        max_tokens_field: where `Request.max_tokens` goes; left out, `max_completion_tokens` for OpenAI and Azure, whose
            reasoning models know no other, and `max_tokens` elsewhere.
        cache_marks: send `Text.cache` as `cache_control`, as OpenRouter takes it; OpenAI caches without marks.
    """

    model: str
    base_url: str = OPENAI_URL
    name: str = ""
    api_key: str | None = field(default=None, repr=False)
    server: Server = "openai"
    capabilities: frozenset[Capability] = frozenset()
    timeout_s: float = 600.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    max_connections: int = 100
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    cache_marks: bool = False

    def __post_init__(self) -> None:
        if self.server not in get_args(Server):
            raise UserError(f"server={self.server!r} is none of {get_args(Server)}. Pass one of them.")
        object.__setattr__(self, "base_url", normalised(self.base_url))
        object.__setattr__(self, "api_key", checked_key(self.api_key))
        checked_headers(self.headers)
        object.__setattr__(self, "name", self.name or self.model)
        object.__setattr__(self, "capabilities", declared(self.capabilities, CAPABILITIES[self.server]))

    @property
    def identity(self) -> str:
        """The normalised URL and the model; never a key."""
        return f"{self._url}#{self.model}"

    @cached_property
    def _url(self) -> str:
        return joined(self.base_url, "/chat/completions")

    def soundness(self, constraint: Constraint) -> tuple[Soundness, ...]:
        """What the endpoint promises of each of a constraint's keywords."""
        return promised_by(self.server, constraint, self.capabilities, f"{self.name!r} at {self.base_url}")

    def _endpoint(self) -> Endpoint:
        headers = bearer(self.base_url, self.api_key) | dict(self.headers)
        return endpoint(self._url, frozenset(headers.items()), self.timeout_s, self.max_connections)

    @cached_property
    def _max_tokens_field(self) -> str:
        host = host_of(self.base_url)
        reasons = host == "api.openai.com" or host.endswith(".openai.azure.com")
        return self.max_tokens_field or ("max_completion_tokens" if reasons else "max_tokens")

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The whole answer; streamed where `emit` listens. `Request.seed` is sent as `seed + sample`.

        Raises:
            Unsupported: the request asks for what the capabilities lack; nothing was sent.
            ProviderError: the endpoint failed; a stream cut before its end is one of these, never a half answer.
        """
        refuse_what_is_lacking(request, self.capabilities, f"{self.name!r} at {self.base_url}")
        body = chat_body(
            request,
            model=self.model,
            server=self.server,
            max_tokens_field=self._max_tokens_field,
            cache_marks=self.cache_marks,
        )
        stream = emit is not discard or (request.max_tokens or 0) > LONG_ANSWER
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        at = self._endpoint()
        return await at.answer(body, ChatAnswer(at, emit, body), stream=stream)


def openai(
    model: str,
    *,
    base_url: str = OPENAI_URL,
    api_key: str | None = None,
    name: str | None = None,
    price: Price | None = None,
    capabilities: Iterable[Capability] | None = None,
    server: Server = "openai",
    timeout_s: float = 600.0,
    headers: Mapping[str, str] | None = None,
    max_connections: int = 100,
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None,
    cache_marks: bool = False,
) -> Journaled:
    """A journaled model behind an OpenAI-compatible endpoint: OpenAI, vLLM, SGLang, llama.cpp, Ollama, OpenRouter, ...

    Nothing is sent before the first call. `price` overrides the shipped table, which knows no private endpoint;
    see `OpenAIChat` for the rest.
    """
    chat = OpenAIChat(
        model,
        base_url,
        name or "",
        api_key,
        server,
        frozenset(capabilities or ()),
        timeout_s=timeout_s,
        headers=headers or {},
        max_connections=max_connections,
        max_tokens_field=max_tokens_field,
        cache_marks=cache_marks,
    )
    return Journaled(chat, price=price or price_of(chat.base_url, model))
