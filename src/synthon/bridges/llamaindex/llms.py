"""Our models as LlamaIndex's LLMs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms import LLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool

from synthon.bridges.llamaindex.reading import parts_from, request_from
from synthon.bridges.llamaindex.sending import completed, grown, response_to
from synthon.bridges.requests import object_in
from synthon.bridges.streams import pieces, read
from synthon.core.errors import UserError
from synthon.core.portal import sync
from synthon.core.protocols import Model
from synthon.core.values import ToolCall


class SynthonLLM(FunctionCallingLLM):
    """An LLM of LlamaIndex's that one of ours answers."""

    model: Any
    context_window: int
    num_output: int

    @classmethod
    def class_name(cls) -> str:
        """Its name there."""
        return "SynthonLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What the model is and can."""
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.num_output,
            is_chat_model=True,
            is_function_calling_model="tools" in self.model.capabilities,
            model_name=self.model.name,
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The answer to a conversation."""
        request = request_from(messages, kwargs)
        return response_to(sync(lambda: self.model.complete(request)))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The answer to a conversation."""
        return response_to(await self.model.complete(request_from(messages, kwargs)))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The answer as it grows."""
        request = request_from(messages, kwargs)

        def growing() -> ChatResponseGen:
            text = ""
            for piece in read(lambda: pieces(self.model, request)):
                text, response = grown(text, piece)
                yield response

        return growing()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """The answer as it grows."""
        request = request_from(messages, kwargs)

        async def growing() -> ChatResponseAsyncGen:
            text = ""
            async with aclosing(pieces(self.model, request)) as found:
                async for piece in found:
                    text, response = grown(text, piece)
                    yield response

        return growing()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: ARG002, FBT001, FBT002 - LlamaIndex's signature
        """The answer to one message."""
        return completed(self.chat([_asked(prompt)], **kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: ARG002, FBT001, FBT002 - same
        """The answer to one message."""
        return completed(await self.achat([_asked(prompt)], **kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: ARG002, FBT001, FBT002 - same
        """The answer to one message as it grows."""
        return (completed(response) for response in self.stream_chat([_asked(prompt)], **kwargs))

    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002, FBT001, FBT002 - same
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """The answer to one message as it grows."""
        growing = await self.astream_chat([_asked(prompt)], **kwargs)
        return (completed(response) async for response in growing)

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002, FBT001, FBT002 - same
        allow_parallel_tool_calls: bool = False,  # noqa: ARG002, FBT001, FBT002 - same; a model may call several
        tool_required: bool = False,  # noqa: FBT001, FBT002 - same
        **kwargs: Any,
    ) -> dict[str, Any]:
        said = [] if user_msg is None else [_asked(user_msg) if isinstance(user_msg, str) else user_msg]
        choice = {"tool_choice": "required"} if tool_required else {}
        return {"messages": [*(chat_history or []), *said], "tools": tools, **choice, **kwargs}

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: FBT001, FBT002 - same
        **kwargs: Any,  # noqa: ARG002 - same
    ) -> list[ToolSelection]:
        """The tools the model wants called.

        Raises:
            UserError: none, where one must be.
        """
        calls = [part for part in parts_from(response.message.blocks) if isinstance(part, ToolCall)]
        if not calls and error_on_no_tool_call:
            said = response.message.content
            msg = f"{self.model.name!r} called no tool but said {said!r:.200}. Pass error_on_no_tool_call=False."
            raise UserError(msg)
        return [
            ToolSelection(tool_id=call.id, tool_name=call.name, tool_kwargs=object_in(call.arguments) or {})
            for call in calls
        ]


def _asked(prompt: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.USER, content=prompt)


def to_model(model: Model, *, context_window: int = 4096, num_output: int = 512) -> LLM:
    """A model of ours as an LLM for LlamaIndex: chat, completion, tools, streaming, usage.

    Calls keep their place in the run they are made in: journaled, replayed, counted.

    Args:
        context_window: tokens, which LlamaIndex packs its prompts into.
        num_output: tokens of them that it leaves for the answer.
    """
    return SynthonLLM(model=model, context_window=context_window, num_output=num_output)
