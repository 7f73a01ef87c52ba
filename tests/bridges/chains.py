"""LangChain models for the tests: their own fakes, and what those cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import Field

USED = UsageMetadata(
    input_tokens=30,
    output_tokens=7,
    total_tokens=37,
    input_token_details={"cache_read": 10, "cache_creation": 5},
    output_token_details={"reasoning": 2},
)


class Heard(BaseChatModel):
    """Answers by a function of the messages; keeps what it was asked, streams word by word."""

    answer: Any = Field(exclude=True)
    asked: Any = Field(default=None, exclude=True)
    model_name: str = "heard"
    temperature: float | None = None
    api_key: str = "sk-secret"
    max_retries: int = 0

    @property
    def _llm_type(self) -> str:
        return "heard"

    def _said(self, messages: list[BaseMessage], words: dict[str, Any]) -> AIMessage:
        if self.asked is not None:
            self.asked.append((messages, words))
        said = self.answer(messages)
        return AIMessage(said) if isinstance(said, str) else said

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        words = {**kwargs, **({"stop": stop} if stop else {})}
        return ChatResult(generations=[ChatGeneration(message=self._said(messages, words))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        said = self._said(messages, kwargs)
        for word in str(said.text).replace(" ", "\0 ").split("\0"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        calls = [
            tool_call_chunk(name=call["name"], args='{"city":"Bern"}', id=call["id"], index=at)
            for at, call in enumerate(said.tool_calls)
        ]
        rest = AIMessageChunk(content="", tool_call_chunks=calls, usage_metadata=said.usage_metadata)
        yield ChatGenerationChunk(message=rest)

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=list(tools), **kwargs, **({"choice": tool_choice} if tool_choice else {}))


class Shaped(Heard):
    """One that has structured output of its own."""

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        def shaped(given: Any) -> dict[str, Any]:
            raw = self.invoke(given, shape=schema, warmth=self.temperature)
            return {"raw": raw, "parsed": {"city": str(raw.text)}, "parsing_error": None}

        return RunnableLambda(shaped)


class Waiting(BaseChatModel):
    """Never answers; says when it was asked and when it was cancelled."""

    asked: Any
    cancelled: Any

    @property
    def _llm_type(self) -> str:
        return "waiting"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


def heard(answer: Callable[[list[BaseMessage]], str | AIMessage], **fields: Any) -> tuple[Heard, list[Any]]:
    """A model and the list of what it is asked."""
    asked: list[Any] = []
    return Heard(answer=answer, asked=asked, **fields), asked
