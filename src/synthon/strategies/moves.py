"""What a model wants next, as its provider takes tools or as one JSON object: asked for, and read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from synthon.core.constraints import Schema
from synthon.core.identity import dumps
from synthon.core.values import Image, Message, Part, Text, ToolCall, ToolResult, ToolSpec
from synthon.decoding.validation import unmet_schema
from synthon.strategies.shapes import next_schema

if TYPE_CHECKING:
    from synthon.core.protocols import Model, Tool
    from synthon.core.values import Completion, Request

Tools: TypeAlias = "Sequence[Tool | ToolSpec]"
ANSWER = "final_answer"
_THINK = "First say in a few words what you think, then call a tool."
_ONE = 'answer with JSON {"tool": its name, "arguments": {...}}'
_MOVE = {"calls", "tool", "answer"}
_THOUGHT = re.compile(r"\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_VALUE = re.compile(r'\[(?=\s*[\[{"\]])|\{\s*(?:(")|\})')
_BROKEN = 500  # pieces that are no JSON, after which a text is not read on
_SEVERAL = 'answer with JSON {"calls": [{"tool": its name, "arguments": {...}}, ...]}'


@dataclass(frozen=True, slots=True)
class Calls:
    """What a model wants next: calls, or where there are none its `answer`, text or JSON as it was asked for.

    `turn` is the model's own turn, to be sent back before the calls' results; `thought` is what it said first.
    """

    calls: tuple[ToolCall, ...]
    answer: str | None
    thought: str
    turn: Message
    native: bool

    def results(self, results: Sequence[ToolResult], note: str = "") -> list[Message]:
        """The turns that tell the model what its calls gave, and a note."""
        if self.native:
            return [Message("tool", tuple(results)), *([Message("user", note)] if note else [])]
        parts: list[Part] = []
        for call, result in zip(self.calls, results, strict=True):
            said = "failed" if result.is_error else "gave"
            texts = "\n".join(part.text for part in result.content if isinstance(part, Text))
            parts += [Text(f"{call.name} {said}: {texts}\n"), *(i for i in result.content if isinstance(i, Image))]
        parts += [Text(note)] if note else []
        if any(isinstance(part, Image) for part in parts):
            return [Message("user", tuple(parts))]
        return [Message("user", "".join(part.text for part in parts if isinstance(part, Text)).rstrip("\n"))]


@dataclass(frozen=True, slots=True)
class Native:
    """Tools as the model's provider takes them; a typed answer is one more of them."""

    asked: Request
    tools: Tools
    thought: Schema | None
    parallel: bool
    answers: bool | Literal["only"]

    def request(self, model: Model) -> Request:  # noqa: ARG002 - the form of JSON needs it
        specs = [ToolSpec(tool.name, tool.description, tool.parameters) for tool in self.tools]
        shape, choice = self.asked.constraint, self.asked.tool_choice
        if isinstance(shape, Schema) and self.answers:
            # an endpoint wants to see tools where there were calls before
            specs = specs * (self.answers != "only") + [ToolSpec(ANSWER, "Give the final answer.", shape.json)]
            choice = "required" if self.answers == "only" else choice
        elif self.answers is not True:
            choice = "none" if self.answers == "only" else "required"
        is_thought = self.thought and self.answers != "only"
        messages = _told(self.asked.messages, _THINK) if is_thought else self.asked.messages
        return replace(self.asked, messages=messages, tools=tuple(specs), tool_choice=choice, constraint=None)

    def read(self, completion: Completion) -> Calls | str:
        shape = self.asked.constraint
        calls = [call for call in completion.tool_calls if call.name != ANSWER or shape is None]
        if calls and self.answers == "only":
            return "no tool can be called any more; give your answer"
        if calls:
            kept = tuple(calls if self.parallel else calls[:1])
            return Calls(kept, None, completion.text, replace(completion, tool_calls=kept).message, native=True)
        if not self.answers:
            return "no tool was called; call one"
        text = next((call.arguments for call in completion.tool_calls), completion.text)
        if isinstance(shape, Schema) and (wrong := unmet_schema(shape.json, text)):
            return f"{wrong}; call {ANSWER} with what fits its schema"
        return Calls((), text, completion.text, Message("assistant", text), native=True)


@dataclass(frozen=True, slots=True)
class InJson:
    """Tools told in words, the answer one JSON object."""

    asked: Request
    tools: Tools
    thought: Schema | None
    parallel: bool
    answers: bool | Literal["only"]

    @property
    def shape(self) -> Schema:
        shapes = self.tools, self.asked.constraint, self.thought
        return next_schema(*shapes, parallel=self.parallel, answers=bool(self.answers))

    def request(self, model: Model) -> Request:
        shape = self.asked.constraint
        answer = f"JSON that fits {shape.json}" if isinstance(shape, Schema) else "your answer"
        told = [f'Answer with JSON {{"answer": {answer}}}, and nothing else.']
        if self.tools:
            listed = [f"- {tool.name}: {tool.description} Arguments: {tool.parameters}" for tool in self.tools]
            way = _SEVERAL if self.parallel else _ONE
            last = f' When you know the answer, or no tool helps, answer with JSON {{"answer": {answer}}}.'
            told = [
                "You have these tools:",
                *listed,
                f"To call one, {way}.{last * bool(self.answers)} Write nothing else.",
            ]
        if self.thought:
            told.append(f'The JSON begins with "thought", what you think first, that fits {self.thought.json}')
        constraint = self.shape if "schema" in model.capabilities else None
        return replace(self.asked, messages=_told(self.asked.messages, "\n".join(told)), constraint=constraint)

    def read(self, completion: Completion) -> Calls | str:
        thought = _THOUGHT.match(completion.text)
        said = completion.text[thought.end() if thought else 0 :]
        moves = list(islice(_moves(said), 2))
        if not any(move for move, _ in moves):
            return 'it holds no JSON object with "answer"' + (' or "tool"' if self.tools else "")
        (found, end), *others = moves
        if others or "</think>" in said[end:]:  # nobody can tell which is meant and which is quoted
            return "it holds several JSON objects, or one in a thought; write one and nothing else"
        wanted = found.get("calls", [found] if "tool" in found else [])
        if wrong := self._wrong(wanted) or unmet_schema(self.shape.json, dumps(found)):
            return wrong
        at = len(self.asked.messages)
        calls = [ToolCall(f"{at}.{n}", each["tool"], dumps(each["arguments"])) for n, each in enumerate(wanted)]
        answer, before = _text(None if calls else found["answer"]), _text(found.get("thought")) or ""
        return Calls(tuple(calls), answer, before, Message("assistant", dumps(found)), native=False)

    def _wrong(self, wanted: Any) -> str:
        """What is wrong with calls, in better words than the whole schema's."""
        tools = {tool.name: tool for tool in self.tools}
        for each in wanted if isinstance(wanted, list) else []:
            call = each if isinstance(each, dict) else {}
            name, arguments = call.get("tool"), call.get("arguments")
            if name not in tools:
                return f"there is no tool {name!r}, there are {list(tools)}"
            if wrong := unmet_schema(tools[name].parameters, dumps(arguments)):
                return f"the arguments of {name!r}: {wrong}"
        return ""


def _moves(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    """The JSON objects in a text that are moves and stand in no other JSON, each with the place where it ends.

    Broken ones come as empty: one of these may be the move, and quote what stands in it.
    """
    at, decoder, broken = 0, json.JSONDecoder(), 0
    while broken < _BROKEN and (start := _VALUE.search(text, at)):
        try:
            value, at = decoder.raw_decode(text, start.start())
        except RecursionError:
            yield {}, at
            return
        except ValueError:
            value, at, broken = None, start.end(), broken + 1
            if start[1]:
                yield {}, at
        if isinstance(value, dict) and not _MOVE.isdisjoint(value):
            yield value, at


def _text(value: object) -> str | None:
    return value if isinstance(value, str) or value is None else dumps(value)


def _told(messages: Sequence[Message], words: str) -> tuple[Message, ...]:
    """The messages with these words at the end of the system's turn."""
    if messages and messages[0].role == "system":
        return (Message("system", f"{messages[0].text}\n\n{words}"), *messages[1:])
    return (Message("system", words), *messages)
