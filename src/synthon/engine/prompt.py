"""Messages to tokens by the model's own chat template; text from outside never becomes a control token."""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template

    from synthon.core.values import Message
    from synthon.engine.binding import Weights

_nonce = secrets.token_hex(8)
_shielded = re.compile(f"\ue000{_nonce}:(.*?)\ue001", re.DOTALL)


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    # options and names as in Hugging Face's apply_chat_template, which the templates are written for
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
        autoescape=False,
    )
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise UserError(f"The chat template cannot be read: {error}. Pass a working one as `chat_template`.") from error


def render(weights: Weights, messages: Sequence[Message], template: str = "") -> list[int]:
    """The prompt's tokens, up to where the assistant's answer begins.

    A last message by the assistant is a beginning that the model goes on with. A control token spelled out in a
    message stays text.

    Args:
        template: Jinja source in place of the one in the model file.

    Raises:
        UserError: there is no template, or it refuses these messages.
    """
    source = template or weights.template
    if not source:
        raise UserError(
            "The model file holds no chat template, so messages cannot be put to it. Pass one as `chat_template`."
        )
    turns = [(message.role, _shield(weights, message.text)) for message in messages]
    beginning = turns.pop()[1] if turns and turns[-1][0] == "assistant" else ""
    text = _fill(source, turns, weights)
    tokens = _tokens(weights, text + beginning)
    if not tokens:
        raise UserError("The chat template makes an empty prompt of these messages. Pass another `chat_template`.")
    return tokens


def _fill(source: str, turns: Sequence[tuple[str, str]], weights: Weights) -> str:
    try:
        return _compiled(source).render(
            messages=[{"role": role, "content": content} for role, content in turns],
            add_generation_prompt=True,
            bos_token=weights.bos,
            eos_token=weights.eos,
        )
    except (TemplateError, TypeError, ValueError) as error:
        roles = [role for role, _ in turns]
        raise UserError(
            f"The model's chat template refuses messages with the roles {roles!r}: {error}. "
            "Change their order, or pass another `chat_template`."
        ) from error


def _shield(weights: Weights, text: str) -> str:
    return weights.control.sub(lambda found: f"\ue000{_nonce}:{found[0]}\ue001", text)


def _tokens(weights: Weights, text: str) -> list[int]:
    first = not (weights.bos and text.startswith(weights.bos))
    tokens: list[int] = []
    for number, part in enumerate(_shielded.split(text)):
        if part or not number:
            tokens += weights.tokenize(part, control=number % 2 == 0, first=first and not number)
    return tokens
