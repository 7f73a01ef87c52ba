"""LangChain's chat models as our models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable

from synthon.bridges.failures import as_ours
from synthon.bridges.identities import identity_of
from synthon.bridges.langchain.quiet import quiet
from synthon.bridges.langchain.reading import completion_from, reasoning_from
from synthon.bridges.langchain.sending import specs_to, to_messages
from synthon.bridges.requests import refuse_what_is_lacking, sampling, soundness_of
from synthon.core.constraints import Constraint, Schema, Soundness
from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import dumps
from synthon.core.protocols import Emit, discard
from synthon.core.values import Capability, Completion, Delta, Price, Request
from synthon.wrappers import Journaled


@dataclass(frozen=True)
class ChatModel:
    """A chat model of LangChain's, without a journal.

    Attributes:
        attempts: requests that it may send for one of ours, with its own retries; a budget reserves for all.
    """

    chat: BaseChatModel
    name: str
    identity: str
    capabilities: frozenset[Capability]
    attempts: int = 1

    def soundness(self, constraint: Constraint) -> tuple[Soundness, ...]:
        """What becomes of each of a constraint's keywords."""
        return soundness_of(constraint, self.capabilities, repr(self.name))

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The whole answer; streamed where `emit` listens and no schema is asked for.

        Raises:
            Unsupported: the request asks for what the capabilities lack; nothing was sent.
            ProviderError: what LangChain raised.
        """
        where = f"LangChain's {self.name!r}"
        refuse_what_is_lacking(request, self.capabilities, where)
        with quiet(), as_ours(where, self.chat, attempts=self.attempts):
            if request.constraint is not None:
                return await self._shaped(request, cast("Schema", request.constraint), emit)
            asked = self._with_tools(request)
            messages, words = to_messages(request.messages), sampling(request)
            if emit is discard:
                said = await asked.ainvoke(messages, None, **words)
            else:
                said = await _streamed(asked, messages, words, emit)
            completion = completion_from(said, request, self.name)
        for call in completion.tool_calls:
            emit(Delta(tool_call=call))
        return completion

    def _with_tools(self, request: Request) -> Runnable[Any, BaseMessage]:
        """The chat model; one that may call none of the tools is not shown them, which every integration obeys."""
        if not request.tools or request.tool_choice == "none":
            return cast("Runnable[Any, BaseMessage]", self.chat)
        choice = {"tool_choice": "any"} if request.tool_choice == "required" else {}
        return cast("Runnable[Any, BaseMessage]", self.chat.bind_tools(specs_to(request.tools), **choice))

    async def _shaped(self, request: Request, schema: Schema, emit: Emit) -> Completion:
        """An answer asked for by the class's own `with_structured_output`, as JSON text."""
        words = sampling(request)
        unknown = sorted(set(words) - set(type(self.chat).model_fields))
        if unknown:  # what answers in a shape takes no keywords with a call, so they must be fields
            msg = f"LangChain's {self.name!r} takes no {unknown} with a schema. Leave them out, or the schema."
            raise Unsupported(msg)
        chat = self.chat.model_copy(update=words) if words else self.chat
        shape = {"title": schema.name, **json.loads(schema.json)}
        found = await chat.with_structured_output(shape, include_raw=True).ainvoke(to_messages(request.messages))
        answer = cast("dict[str, Any]", found)
        completion = completion_from(answer["raw"], request, self.name)
        if answer["parsed"] is not None:
            completion = replace(completion, text=dumps(answer["parsed"]), tool_calls=(), finish="stop")
        if completion.text:
            emit(Delta(text=completion.text))
        return completion


async def _streamed(
    asked: Runnable[Any, BaseMessage], messages: list[BaseMessage], words: dict[str, object], emit: Emit
) -> BaseMessage:
    """The sum of the chunks; a model that cannot stream gives one message."""
    whole: BaseMessage | None = None
    async for chunk in asked.astream(messages, None, **words):
        whole = chunk if whole is None else cast("AIMessageChunk", whole) + cast("AIMessageChunk", chunk)
        for block in reasoning_from(chunk) if isinstance(chunk, AIMessage) else ():
            emit(Delta(reasoning=block.text))
        if chunk.text:
            emit(Delta(text=str(chunk.text)))
    return whole or AIMessage("")


def model(
    chat: BaseChatModel,
    *,
    name: str | None = None,
    identity: str | None = None,
    price: Price | None = None,
    capabilities: Iterable[Capability] | None = None,
) -> Journaled:
    """A chat model of LangChain's as a model here: journaled, budgeted, a value for a step's `model=` and its knobs.

    Sampling goes with each call as keywords (`temperature`, `max_tokens`, `stop`, ...), as LangChain's integrations
    take it. Its own cache is left out: the journal is the cache.

    Args:
        chat: any `BaseChatModel`. One that keeps state is copied with the state it has now.
        name: what people call it; left out, its model's name, else its class's.
        identity: what decides its answers; left out, its class and fields without keys, as they are now.
        price: in dollars per million tokens.
        capabilities: left out, "chat", "tools" where the class binds tools, "schema" where it has
            `with_structured_output` of its own, "image" where its profile says so.

    Raises:
        UserError: it is no chat model, or what decides its answers cannot be told.
    """
    if not isinstance(chat, BaseChatModel):
        msg = f"{chat!r:.200} is no chat model of LangChain's. Pass a BaseChatModel, or use langchain.runnable(...)."
        raise UserError(msg)
    named = name or getattr(chat, "model_name", None) or getattr(chat, "model", None) or type(chat).__name__
    can = frozenset(capabilities) if capabilities is not None else _capabilities(chat)
    known = str(identity_of(chat, identity, str(named)))
    retries = getattr(chat, "max_retries", None) or 0
    return Journaled(
        ChatModel(chat.model_copy(update={"cache": False}), str(named), known, can, 1 + retries), price=price
    )


def _capabilities(chat: BaseChatModel) -> frozenset[Capability]:
    profile, found = chat.profile or {}, {"chat"}
    kind = type(chat)
    if kind.bind_tools is not BaseChatModel.bind_tools and profile.get("tool_calling", True):
        found.add("tools")
    if kind.with_structured_output is not BaseChatModel.with_structured_output:
        found.add("schema")
    if profile.get("image_inputs"):
        found.add("image")
    return cast("frozenset[Capability]", frozenset(found))
