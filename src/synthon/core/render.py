"""How a step becomes messages: one small function, replaceable by `@step(render=...)`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

from synthon.core.errors import UserError
from synthon.core.identity import safe_repr, to_json
from synthon.core.light import dataclass
from synthon.core.values import Image, Message, Part, Passage, Text

_IMAGE = {field.name for field in fields(Image)}
_PICTURED = re.compile(r'"media_type":"[^"]*","url":"[^"]*","kind":"image"\}')  # as `shown` writes an Image
_PASSAGE = {field.name for field in fields(Passage)}


@dataclass(frozen=True, slots=True)
class Demo:
    """A worked example of a step: its inputs by name, the output it should give, and the reasoning that led there."""

    inputs: Mapping[str, object]
    output: object
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Rendering:
    """All that a step knows when it writes its messages.

    `inputs` are the arguments by name without conversations; `history` is the conversation among them.
    `expected` says in words what shape the answer must have, empty for plain text; `answers` are the demos'
    outputs as the text a model should have written.
    """

    instruction: str
    inputs: Mapping[str, object]
    demos: Sequence[Demo]
    answers: Sequence[str]
    history: Sequence[Message]
    expected: str


Render = Callable[[Rendering], list[Message]]
"""How a step becomes messages; `@step(render=...)` takes one."""


def shown(value: object) -> str:
    """An input as text for a model: text as it is, passages numbered from 1, anything else as JSON.

    What JSON has as text (a date, a member of an enumeration) is text here too, so that a saved example reads the same;
    the JSON of a passage, as saved examples have it, is a passage.

    Raises:
        UserError: it holds an object that has no text of its own.
    """
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration too, which formats by its name
    if isinstance(value, list | tuple) and value and all(map(_is_passage, value)):
        return "\n\n".join(_passage(number, item) for number, item in enumerate(value, 1))
    unknown: list[str] = []

    def told(item: object) -> str:
        unknown.append(safe_repr(item))
        return unknown[-1]

    text = to_json(value, fallback=told)
    nameless = [item for item in unknown if " at 0x" in item]
    if nameless:
        raise UserError(
            f"An input holds {nameless[0]}, which a model would be shown by its address, another in each process. "
            "Pass text, numbers, a dataclass or a Pydantic model, or give its class a __repr__."
        )
    return str(json.loads(text)) if text.startswith('"') else text


def _is_passage(item: object) -> bool:
    return isinstance(item, Passage) or (isinstance(item, Mapping) and item.keys() == _PASSAGE)


def _is_image(item: object) -> bool:
    """Whether it is the JSON of a picture, as saved examples have it."""
    return isinstance(item, Mapping) and item.keys() == _IMAGE and item["kind"] == "image"


def _passage(number: int, item: Passage | Mapping[str, object]) -> str:
    passage = item if isinstance(item, Passage) else Passage(**cast("Any", item))
    title = f"{passage.title}\n" if passage.title else ""
    return f"[{number}] {title}{passage.text}"


def _pictures(value: object) -> list[Image]:
    """The pictures that an input is: one, or a list of nothing else; of any other input none."""
    if isinstance(value, str):
        return []
    items = value if isinstance(value, list | tuple) else [value]
    found = [Image(**cast("Any", each)) if _is_image(each) else each for each in items]
    pictures = [each for each in found if isinstance(each, Image)]
    return pictures if len(pictures) == len(found) else []


def _text(name: str, value: object) -> str:
    text = shown(value)
    if not isinstance(value, str) and _PICTURED.search(text):
        raise UserError(
            f"The input {name!r} holds a picture among other things. Pass pictures as an input of their own."
        )
    return text


def _question(inputs: Mapping[str, object]) -> str | tuple[Part, ...]:
    pictures = {name: found for name, value in inputs.items() if (found := _pictures(value))}
    images = [image for found in pictures.values() for image in found]
    texts = {name: _text(name, value) for name, value in inputs.items() if name not in pictures}
    named = [f"{name}: {text}" for name, text in texts.items()]
    text = "\n\n".join(named if len(texts) > 1 else texts.values())
    return (*images, Text(text)) if images else text


def render(rendering: Rendering) -> list[Message]:
    """Instruction and shape as the system's turn, demos as turns, then the conversation, then the question."""
    system = f"{rendering.instruction}\n\n{rendering.expected}" if rendering.expected else rendering.instruction
    messages = [Message("system", system)]
    for demo, answer in zip(rendering.demos, rendering.answers, strict=True):
        messages += [Message("user", _question(demo.inputs)), Message("assistant", answer)]
    messages += rendering.history
    if rendering.inputs or not rendering.history:
        messages.append(Message("user", _question(rendering.inputs)))
    return messages
