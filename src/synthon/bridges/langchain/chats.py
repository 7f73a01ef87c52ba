"""Our models as LangChain's chat models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool

from synthon.bridges.langchain.reading import from_messages, specs_from
from synthon.bridges.langchain.sending import told, tool_calls_to
from synthon.bridges.langchain.shapes import beside_raw, held, reader
from synthon.bridges.requests import stops
from synthon.bridges.streams import pieces, read
from synthon.core.constraints import Schema
from synthon.core.errors import UserError
from synthon.core.identity import dumps
from synthon.core.portal import sync
from synthon.core.protocols import Model
from synthon.core.values import Completion, Delta, Request

_KEYWORDS = {"temperature", "max_tokens", "top_p", "top_k", "min_p", "seed"}
Choice = dict[str, Any] | str | bool | None
Tools = Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool]


class SynthonChatModel(BaseChatModel):
    """A chat model of LangChain's that one of ours answers."""

    model: Any

    @property
    def _llm_type(self) -> str:
        return "synthon"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model.name, "identity": self.model.identity}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain's signature
        **kwargs: Any,
    ) -> ChatResult:
        return sync(lambda: self._answered(messages, stop, kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - same
        **kwargs: Any,
    ) -> ChatResult:
        return await self._answered(messages, stop, kwargs)

    async def _answered(self, messages: list[BaseMessage], stop: list[str] | None, words: dict[str, Any]) -> ChatResult:
        request = _request(messages, stop, words)
        completion = held(await self.model.complete(request), request)
        said = AIMessage(completion.text, **tool_calls_to(completion.tool_calls), **told(completion))
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - same
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = _request(messages, stop, kwargs)
        for piece in read(lambda: pieces(self.model, request)):
            yield _chunk(piece, request)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - same
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = _request(messages, stop, kwargs)
        async with aclosing(pieces(self.model, request)) as found:
            async for piece in found:
                yield _chunk(piece, request)

    def bind_tools(
        self, tools: Tools, *, tool_choice: Choice = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call ("auto"), must ("any", "required", True) or must not ("none").

        Args:
            tools: what it may call; `strict=` says nothing here, where a mask holds arguments or a check does.
            tool_choice: one of these words, or the tool that it must call: its name, or a provider's form of that.

        Raises:
            UserError: no tool has that name.
        """
        specs = [convert_to_openai_tool(tool) for tool in tools]
        choice = _choice(tool_choice)
        if choice not in {"auto", "required", "none"}:
            named = [spec for spec in specs if spec["function"]["name"] == choice]
            if not named:
                names = [spec["function"]["name"] for spec in specs]
                raise UserError(f"tool_choice={tool_choice!r} names none of the tools {names}. Name one of them.")
            specs, choice = named, "required"
        kwargs.pop("strict", None)
        return self.bind(tools=specs, tool_choice=choice, **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """The model with answers of a shape: held by a mask where it can, else checked; see `synthon.schema`.

        Args:
            schema: a JSON schema, or a class.
            include_raw: gives `raw`, `parsed` and `parsing_error`, and raises nothing of a bad answer.
        """
        shape = dumps(convert_to_json_schema(schema))
        words = {name: kwargs[name] for name in kwargs if name not in {"method", "strict"}}
        parser = reader(schema)
        return self.bind(json_schema=shape, **words) | (beside_raw(parser) if include_raw else parser)


def _choice(given: Choice) -> str:
    """The word or the name in a tool choice, as OpenAI's, Anthropic's and LangChain's callers write it."""
    if isinstance(given, dict):
        given = given.get("function", given).get("name") or given.get("type") or str(given)
    return {None: "auto", False: "auto", True: "required", "any": "required"}.get(given) or str(given)


def _request(messages: list[BaseMessage], stop: list[str] | None, words: dict[str, Any]) -> Request:
    """The request that a call of LangChain's stands for.

    Raises:
        UserError: a keyword that no request of ours has.
    """
    sampled = {name: value for name, value in words.items() if name in _KEYWORDS}
    unknown = sorted(set(words) - _KEYWORDS - {"tools", "tool_choice", "json_schema", "stream"})
    if unknown:
        msg = (
            f"The call's keywords {unknown} mean nothing to our models. Leave them out; {sorted(_KEYWORDS)} are known."
        )
        raise UserError(msg)
    schema = words.get("json_schema")
    return Request(
        from_messages(messages),
        **sampled,
        stop=stops(stop),
        tools=specs_from(words.get("tools") or ()),
        tool_choice=words.get("tool_choice", "auto"),
        constraint=None if schema is None else Schema(schema, check=True),
    )


def _chunk(piece: Delta | Completion, request: Request) -> ChatGenerationChunk:
    """A piece of text or reasoning; of the whole answer what no piece has said."""
    if isinstance(piece, Delta):
        beside = {"reasoning_content": piece.reasoning} if piece.reasoning else {}
        return ChatGenerationChunk(message=AIMessageChunk(content=piece.text, additional_kwargs=beside))
    rest = told(held(piece, request))
    rest["additional_kwargs"].pop("reasoning_content", None)
    calls = [
        tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=at)
        for at, call in enumerate(piece.tool_calls)
    ]
    return ChatGenerationChunk(
        message=AIMessageChunk(content="", tool_call_chunks=calls, chunk_position="last", **rest)
    )


def to_model(model: Model, *, name: str | None = None) -> BaseChatModel:
    """A model of ours as a chat model for LangChain: tools, structured output, streaming, usage.

    Calls keep their place in the run they are made in: journaled, replayed, counted. LangChain's own cache is off for
    it. Sampling is given with a call or by `.bind(temperature=..., max_tokens=...)`.
    """
    return SynthonChatModel(model=model, name=name or model.name, cache=False)
