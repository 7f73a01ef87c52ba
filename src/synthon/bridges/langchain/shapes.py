"""Answers of a shape that LangChain asks for, read from what a model of ours said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel

from synthon.bridges.langchain.sending import UNMET
from synthon.core.errors import OutputError
from synthon.core.values import Completion, Request
from synthon.decoding import unmet


class _Json(JsonOutputParser):
    """JSON piece by piece; the last piece is read strictly, so that a bad answer is no empty stream."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        message = result[0].message if isinstance(result[0], ChatGeneration) else None
        if message is not None and (unmet := message.response_metadata.get(UNMET)):
            text = result[0].text
            msg = f"The model answered {text!r:.200}, which does not fit: {unmet}. Ask again."
            raise OutputError(msg, text=text, reason=unmet)
        is_whole = getattr(message, "chunk_position", None) == "last"
        return super().parse_result(result, partial=partial and not is_whole)


class _Typed(_Json, PydanticOutputParser[Any]):
    """The same as a Pydantic model."""


def reader(schema: dict[str, Any] | type) -> Runnable[AIMessage, Any]:
    """Reads an answer as a Pydantic model, where the schema is one, else as JSON.

    Raises:
        OutputError: the answer leaves something of its schema unmet.
    """
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return _Typed(pydantic_object=schema)
    return _Json()


def held(completion: Completion, request: Request) -> Completion:
    """The completion with what it leaves unmet of the request's shape, which a model without a journal does not say."""
    if request.constraint is None or completion.unmet or not completion.text:
        return completion
    return replace(completion, unmet=unmet(request.constraint, completion.text))


def beside_raw(parser: Runnable[AIMessage, Any]) -> Runnable[AIMessage, dict[str, Any]]:
    """What a parser reads, beside the answer itself; a bad answer's error is a value."""

    def read(said: AIMessage) -> dict[str, Any]:
        try:
            return {"raw": said, "parsed": parser.invoke(said), "parsing_error": None}
        except (OutputError, OutputParserException) as error:
            return {"raw": said, "parsed": None, "parsing_error": error}

    return RunnableLambda(read)
