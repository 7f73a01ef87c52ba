"""LlamaIndex's LLMs as our models."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms import LLM
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import BaseTool, ToolMetadata, ToolOutput

from synthon.bridges.failures import as_ours
from synthon.bridges.identities import identity_of
from synthon.bridges.llamaindex.reading import completion_from
from synthon.bridges.llamaindex.sending import SchemaMetadata, to_messages
from synthon.bridges.requests import refuse_what_is_lacking, sampling, soundness_of
from synthon.core.constraints import Constraint, Soundness
from synthon.core.errors import UserError
from synthon.core.identity import dumps
from synthon.core.protocols import Emit, discard
from synthon.core.values import Capability, Completion, Delta, Price, Request, ToolCall, ToolSpec
from synthon.tools.threads import threaded
from synthon.wrappers import Journaled


@dataclass(frozen=True)
class LlamaModel:
    """An LLM of LlamaIndex's, without a journal; one whose async methods only call the sync ones runs in a thread.

    Attributes:
        attempts: requests that it may send for one of ours, with its own retries; a budget reserves for all.
    """

    llm: LLM
    name: str
    identity: str
    capabilities: frozenset[Capability]
    attempts: int = 1

    def soundness(self, constraint: Constraint) -> tuple[Soundness, ...]:
        """What becomes of each of a constraint's keywords."""
        return soundness_of(constraint, self.capabilities, repr(self.name))

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The whole answer; streamed where `emit` listens.

        Raises:
            Unsupported: the request asks for what the capabilities lack; nothing was sent.
            ProviderError: what LlamaIndex raised.
        """
        where = f"LlamaIndex's {self.name!r}"
        refuse_what_is_lacking(request, self.capabilities, where)
        messages, words = to_messages(request.messages), sampling(request)
        if request.tools and request.tool_choice != "none":  # what it may not call it is not shown
            words["tools"] = list(map(_Described, request.tools))
            words |= {"tool_required": True} if request.tool_choice == "required" else {}
        with as_ours(where, self.llm, attempts=self.attempts):
            if emit is discard:
                response = await self._answered(messages, words)
            else:
                response = await self._streamed(messages, words, emit)
            completion = completion_from(response, self._calls(response), request, self.name)
        for call in completion.tool_calls:
            emit(Delta(tool_call=call))
        return completion

    async def _answered(self, messages: Sequence[ChatMessage], words: dict[str, Any]) -> ChatResponse:
        if "tools" in words:
            llm = cast("FunctionCallingLLM", self.llm)
            return await llm.achat_with_tools(chat_history=list(messages), **words)
        if _is_sync(self.llm, "achat"):
            return await threaded(self.llm.chat, messages, **words)
        return await self.llm.achat(messages, **words)

    async def _streamed(self, messages: Sequence[ChatMessage], words: dict[str, Any], emit: Emit) -> ChatResponse:
        """The last of the growing answers, whose message is the whole."""
        response: ChatResponse | None = None
        async for response in self._growing(messages, words):
            if response.delta:
                emit(Delta(text=response.delta))
        return response or ChatResponse(message=ChatMessage(role="assistant", content=""))

    async def _growing(self, messages: Sequence[ChatMessage], words: dict[str, Any]) -> AsyncIterator[ChatResponse]:
        if "tools" in words:
            llm = cast("FunctionCallingLLM", self.llm)
            found = await llm.astream_chat_with_tools(chat_history=list(messages), **words)
        elif _is_sync(self.llm, "astream_chat"):
            pulled = await threaded(self.llm.stream_chat, messages, **words)
            while (response := await threaded(next, pulled, None)) is not None:
                yield response
            return
        else:
            found = await self.llm.astream_chat(messages, **words)
        async for response in found:
            yield response

    def _calls(self, response: ChatResponse) -> tuple[ToolCall, ...]:
        """Tool calls as the LLM itself reads them from its answer."""
        if "tools" not in self.capabilities or not isinstance(self.llm, FunctionCallingLLM):
            return ()
        try:
            found = self.llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        except NotImplementedError:
            return ()
        return tuple(ToolCall(call.tool_id, call.tool_name, dumps(call.tool_kwargs)) for call in found)


def _is_sync(llm: LLM, method: str) -> bool:
    """Whether an async method only calls its sync sister, on the event loop."""
    return inspect.unwrap(getattr(type(llm), method)) is inspect.unwrap(getattr(CustomLLM, method))


class _Described(BaseTool):
    """A tool as an LLM sees it; nobody calls it there."""

    def __init__(self, spec: ToolSpec) -> None:
        self._metadata = SchemaMetadata(spec.description, spec.name, None, parameters=spec.parameters)

    @property
    def metadata(self) -> ToolMetadata:
        return self._metadata

    def __call__(self, input: Any) -> ToolOutput:  # noqa: A002 - LlamaIndex's name
        self._refuse(input)

    def _refuse(self, given: object) -> NoReturn:
        msg = f"The tool {self._metadata.name!r} was called with {given!r:.200} inside an LLM, which only describes it."
        raise UserError(msg)


def model(
    llm: LLM,
    *,
    name: str | None = None,
    identity: str | None = None,
    price: Price | None = None,
    capabilities: Iterable[Capability] | None = None,
) -> Journaled:
    """An LLM of LlamaIndex's as a model here: journaled, budgeted, a value for a step's `model=` and its knobs.

    Sampling goes with each call as keywords (`temperature`, `max_tokens`, `stop`, ...), as its integrations take it.

    Args:
        llm: any `LLM`.
        name: what people call it; left out, its model's name, else its class's.
        identity: what decides its answers; left out, its class and fields without keys, as they are now.
        price: in dollars per million tokens.
        capabilities: left out, "chat", and "tools" where it calls functions.

    Raises:
        UserError: it is no LLM, or what decides its answers cannot be told.
    """
    if not isinstance(llm, LLM):
        msg = f"{llm!r:.200} is no LLM of LlamaIndex's. Pass an object of a class that derives from LLM."
        raise UserError(msg)
    said = llm.metadata
    named = name or (said.model_name if said.model_name != "unknown" else llm.class_name())
    calls = isinstance(llm, FunctionCallingLLM) and said.is_function_calling_model
    own: frozenset[Capability] = frozenset({"chat", "tools"} if calls else {"chat"})
    can = own if capabilities is None else frozenset(capabilities)
    retries = getattr(llm, "max_retries", None) or 0
    return Journaled(LlamaModel(llm, named, str(identity_of(llm, identity, named)), can, 1 + retries), price=price)
