"""Models behind Anthropic's Messages, at Anthropic or at whoever speaks them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from synthon.core.errors import UserError
from synthon.core.protocols import discard
from synthon.models._fields import promised_by
from synthon.models._http import checked_headers, checked_key, endpoint, host_of, joined, normalised
from synthon.models._messages import MessagesAnswer, messages_body
from synthon.models.openai_model import LONG_ANSWER
from synthon.models.prices import price_of
from synthon.wrappers.demands import declared, refuse_what_is_lacking
from synthon.wrappers.journaled import Journaled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from synthon.core.constraints import Constraint, Soundness
    from synthon.core.protocols import Emit
    from synthon.core.values import Capability, Completion, Price, Request
    from synthon.models._http import Endpoint

ANTHROPIC_URL = "https://api.anthropic.com/v1"
_VERSION = "2023-06-01"
_MAX_TOKENS = 16_384
_CAPABILITIES: frozenset[Capability] = frozenset({"chat", "tools", "schema", "image"})


@dataclass(frozen=True)
class AnthropicMessages:
    """A model behind `{base_url}/messages`, without a journal; `/v1` is added to a base URL that lacks it.

    Args:
        model: the endpoint's name for it.
        name: what people call it; the model's name where empty.
        api_key: sent as `x-api-key`. Left out, `ANTHROPIC_API_KEY` is read at the first call, for
            api.anthropic.com only.
        capabilities: what the model can; left out, chat, tools, schema and image. Models older than Claude 4.5
            enforce no schema.
        timeout_s: seconds for the whole answer.
        headers: sent with each request; their values are kept out of sight like the key.
        max_connections: requests in flight in one event loop, to one origin; others wait.
        max_tokens: the bound for requests that name none, as Messages want one; thinking counts. Another one makes
            another identity.
    """

    model: str
    base_url: str = ANTHROPIC_URL
    name: str = ""
    api_key: str | None = field(default=None, repr=False)
    capabilities: frozenset[Capability] = frozenset()
    timeout_s: float = 600.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    max_connections: int = 100
    max_tokens: int = _MAX_TOKENS

    def __post_init__(self) -> None:
        base = normalised(self.base_url)
        object.__setattr__(self, "base_url", base if base.endswith("/v1") else joined(base, "/v1"))
        object.__setattr__(self, "api_key", checked_key(self.api_key))
        checked_headers(self.headers)
        object.__setattr__(self, "name", self.name or self.model)
        object.__setattr__(self, "capabilities", declared(self.capabilities, _CAPABILITIES))

    @property
    def identity(self) -> str:
        """The normalised URL, the model and a bound of its own, which can cut an answer off; never a key."""
        bound = "" if self.max_tokens == _MAX_TOKENS else f"?max_tokens={self.max_tokens}"
        return f"{self._url}#{self.model}{bound}"

    @cached_property
    def _url(self) -> str:
        return joined(self.base_url, "/messages")

    def soundness(self, constraint: Constraint) -> tuple[Soundness, ...]:
        """What the endpoint promises of each of a constraint's keywords."""
        return promised_by("messages", constraint, self.capabilities, f"{self.name!r} at {self.base_url}")

    def _endpoint(self) -> Endpoint:
        own = host_of(self.base_url) == "api.anthropic.com"
        key = checked_key(self.api_key or (os.environ.get("ANTHROPIC_API_KEY") if own else None))
        if own and key is None:
            raise UserError(f"No API key for {self.base_url}. Set ANTHROPIC_API_KEY, or pass `api_key=`.")
        headers = {"anthropic-version": _VERSION} | ({"x-api-key": key} if key else {}) | dict(self.headers)
        return endpoint(self._url, frozenset(headers.items()), self.timeout_s, self.max_connections)

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The whole answer; streamed where `emit` listens or the answer may be long.

        Raises:
            Unsupported: the request asks for what the capabilities lack; nothing was sent.
            ProviderError: the endpoint failed; a stream cut before its end is one of these, never a half answer.
        """
        refuse_what_is_lacking(request, self.capabilities, f"{self.name!r} at {self.base_url}")
        body = messages_body(request, model=self.model, max_tokens=self.max_tokens)
        stream = emit is not discard or (request.max_tokens or self.max_tokens) > LONG_ANSWER
        if stream:
            body["stream"] = True
        at = self._endpoint()
        return await at.answer(body, MessagesAnswer(at, emit, body), stream=stream)


def anthropic(
    model: str,
    *,
    base_url: str = ANTHROPIC_URL,
    api_key: str | None = None,
    name: str | None = None,
    price: Price | None = None,
    capabilities: Iterable[Capability] | None = None,
    timeout_s: float = 600.0,
    headers: Mapping[str, str] | None = None,
    max_connections: int = 100,
    max_tokens: int = _MAX_TOKENS,
) -> Journaled:
    """A journaled model behind Anthropic's Messages.

    Nothing is sent before the first call. `price` overrides the shipped table; see `AnthropicMessages` for the rest.
    """
    messages = AnthropicMessages(
        model,
        base_url,
        name or "",
        api_key,
        frozenset(capabilities or ()),
        timeout_s=timeout_s,
        headers=headers or {},
        max_connections=max_connections,
        max_tokens=max_tokens,
    )
    return Journaled(messages, price=price or price_of(messages.base_url, model))
