"""A regular language as a table over bytes: for where more than the next token has to be foreseen, as in counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from synthon.core.errors import SchemaTooLarge
from synthon.core.light import dataclass
from synthon.decoding.languages import LAST, Language, Reader, Span, classes_of

MAX_ROWS = 100_000  # of the table over bytes; 30 us each
MAX_STATES = 5_000  # over characters; counting through them takes some seconds
Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int32]
DEAD = 0


@dataclass(frozen=True, slots=True)
class Automaton:
    """A deterministic automaton over bytes of UTF-8; state 0 is dead, every other one can reach an accepting state.

    Args:
        start: the first state.
        columns: shape (256,), the column of each byte.
        after: shape (states, columns), the state after a byte of that column.
        accepting: shape (states,), whether the text may end there.
    """

    start: int
    columns: Ints
    after: Ints
    accepting: Bools


def automaton(language: Language) -> Automaton:
    """The language's automaton; 0.1 s for the length of 280 characters, seconds at most.

    Raises:
        SchemaTooLarge: it has more than `MAX_STATES` states over characters or `MAX_ROWS` over bytes.
    """
    classes = classes_of([language])
    try:
        targets, accepting = _over_characters(Reader(classes), language, len(classes))
    except RecursionError as error:
        msg = "The constraint is nested too deep for an automaton. Use smaller patterns, or leave `tokens` out."
        raise SchemaTooLarge(msg) from error
    code, columns = _code(classes)
    if len(targets) * len(code) > MAX_ROWS:
        msg = f"The constraint has {len(targets):,} states for {len(code):,} beginnings of characters, too many to"
        raise SchemaTooLarge(f"{msg} count tokens in. Give smaller bounds, fewer kinds of characters, or no `tokens`.")
    after = _over_bytes(_trimmed(targets, accepting), code, len(classes))
    ends = np.zeros(len(after), np.bool_)
    ends[1 : len(accepting) + 1] = accepting
    after, merged = _columns(after)
    return Automaton(1 if ends[1] or after[1].any() else DEAD, merged[columns], after, ends)


def _over_characters(reader: Reader, language: Language, classes: int) -> tuple[list[list[int]], list[bool]]:
    """Each state's target by character class, -1 for none; state 0 is the first."""
    states = [reader.read(language)]
    numbers = {states[0]: 0, reader.NOTHING: -1}
    targets: list[list[int]] = []
    for state in states:
        row = []
        for character in range(classes):
            target = reader.after(state, character)
            if target not in numbers:
                numbers[target] = len(states)
                states.append(target)
            row.append(numbers[target])
        targets.append(row)
        if len(states) > MAX_STATES:
            msg = f"The constraint has over {MAX_STATES:,} states, too many to count tokens in. "
            raise SchemaTooLarge(msg + "Give smaller bounds, fewer of them at once, or leave `tokens` out.")
    return targets, [reader.matches_empty[state] for state in states]


def _over_bytes(targets: Sequence[Sequence[int]], code: Ints, classes: int) -> Ints:
    """The table over bytes: row 0 is dead, then one row a state, then the states inside a character."""
    whole: list[Ints] = []
    inside: dict[bytes, int] = {}
    table = np.zeros(classes + len(code) + 1, np.int32)
    for row in targets:
        table[:classes] = row
        table[:classes] += 1
        for number in range(len(code) - 1, 0, -1):  # children first
            inner = table[code[number]]
            known = inside.setdefault(inner.tobytes(), len(targets) + 1 + len(inside)) if inner.any() else DEAD
            table[classes + number] = known
        whole.append(table[code[0]])
    return np.stack([np.zeros(code.shape[1], np.int32), *whole, *(np.frombuffer(key, np.int32) for key in inside)])


def _code(classes: Sequence[tuple[Span, ...]]) -> tuple[Ints, Ints]:
    """UTF-8 read byte by byte: what follows each column at each node, parents first, and the column of each byte.

    A number below `len(classes)` is a whole character of that class, `len(classes) + n` is node n, and
    `len(classes) + len(nodes)` is no character.
    """
    class_of = np.full(LAST + 1, -1, np.int32)
    for number, spans in enumerate(classes):
        for first, last in spans:
            class_of[first : last + 1] = number
    class_of[0xD800:0xE000] = -1
    kept: dict[bytes, int] = {}
    overlong = np.full(
        0x10000, -1, np.int32
    )  # forms that would need fewer bytes, and what lies past the last character
    three = np.concatenate([overlong[:0x800], class_of[0x800:0x10000]])
    four = np.concatenate([overlong, class_of[0x10000:], overlong[:0x10000], overlong[:0x10000], overlong[:0x10000]])
    root = np.full(256, -1, np.int32)
    root[:0x80] = class_of[:0x80]
    root[0xC2:0xE0] = _shared(class_of[0x80:0x800], kept, len(classes))
    root[0xE0:0xF0] = _shared(_shared(three, kept, len(classes)), kept, len(classes))
    root[0xF0:0xF5] = _shared(_shared(_shared(four, kept, len(classes)), kept, len(classes)), kept, len(classes))
    nodes = np.full((len(kept) + 1, 256), -1, np.int32)
    nodes[0] = root
    for key, number in kept.items():  # children were kept before their parents
        nodes[len(kept) - number, 0x80:0xC0] = np.frombuffer(key, np.int32)
    inner = nodes >= len(classes)
    nodes[inner] = 2 * len(classes) + len(kept) - nodes[inner]
    nodes[nodes < 0] = len(classes) + len(nodes)
    return _columns(nodes)


def _shared(children: Ints, kept: dict[bytes, int], classes: int) -> Ints:
    """A node for every 64 children, equal ones shared; -1 where no child is a character."""
    keys = [row.tobytes() for row in children.reshape(-1, 64)]
    nothing = np.full(64, -1, np.int32).tobytes()
    return np.array([-1 if key == nothing else classes + kept.setdefault(key, len(kept)) for key in keys], np.int32)


def _columns(table: Ints) -> tuple[Ints, Ints]:
    """The table with equal columns once, and for each column its new number."""
    numbers: dict[bytes, int] = {}
    new = [numbers.setdefault(column.tobytes(), len(numbers)) for column in np.ascontiguousarray(table.T)]
    kept = np.frombuffer(b"".join(numbers), table.dtype).reshape(len(numbers), -1)
    return np.ascontiguousarray(kept.T), np.array(new, np.int32)


def _trimmed(targets: Sequence[Sequence[int]], accepting: Sequence[bool]) -> list[list[int]]:
    """The targets, -1 in place of states from which the text can never end."""
    before: list[set[int]] = [set() for _ in targets]
    for state, row in enumerate(targets):
        for target in set(row) - {-1}:
            before[target].add(state)
    live = {state for state, ends in enumerate(accepting) if ends}
    waiting = list(live)
    while waiting:
        new = before[waiting.pop()] - live
        live |= new
        waiting += new
    return [[target if target in live else -1 for target in row] for row in targets]


__all__ = ["DEAD", "MAX_ROWS", "MAX_STATES", "Automaton", "Bools", "Ints", "automaton"]
