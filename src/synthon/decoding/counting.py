"""Count a model's tokens exactly: which may follow so that the text can still be right with so many tokens in all.

The language's automaton over bytes says where a token leads; going back from the last token, the states from which the
count can still be met are known before the first mask. Tokens that no state tells apart are followed once. Tokens of
one byte are tried before all others, so most states are settled without a search.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from synthon.core.constraints import Bounds
from synthon.core.errors import SchemaTooLarge, UserError
from synthon.decoding.automata import DEAD, Automaton, Bools, Ints, automaton
from synthon.decoding.predicates import Alternative
from synthon.decoding.vocabulary import Vocabulary

if TYPE_CHECKING:
    from synthon.core.protocols import FloatArray

MAX_STEPS = 300_000_000  # a state followed through a distinct piece of a token, 10 ns each
MAX_TOKENS = 100_000
_ROWS = 256  # states whose tokens are kept
_BLOCK = 2_000_000
Places: TypeAlias = npt.NDArray[np.intp]


class _Pieces:
    """The vocabulary's tokens as paths in a tree of columns; equal paths are one.

    Args:
        vocabulary: control, end and empty tokens belong to no text.
        columns: the column of each byte.
    """

    def __init__(self, vocabulary: Vocabulary, columns: Ints) -> None:
        barred = vocabulary.control | vocabulary.ends
        texts = [b"" if number in barred else text for number, text in enumerate(vocabulary.tokens)]
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        letters = columns[np.frombuffer(b"".join(texts), np.uint8)].astype(np.int64)
        begins = np.cumsum(lengths) - lengths
        self.longest = int(lengths.max(initial=0))
        node = np.zeros(len(texts), np.int64)
        width = int(columns.max(initial=0)) + 1
        parents, steps, self._levels = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)], [0, 1]
        for depth in range(self.longest):
            longer = np.flatnonzero(lengths > depth)
            path = node[longer] * width + letters[begins[longer] + depth]
            distinct, place = np.unique(path, return_inverse=True)
            node[longer] = self._levels[-1] + place.reshape(-1)
            parents.append(distinct // width)
            steps.append(distinct % width)
            self._levels.append(self._levels[-1] + len(distinct))
        self._parents, self._steps = np.concatenate(parents), np.concatenate(steps)
        self._whole, place = np.unique(node[lengths > 0], return_inverse=True)
        self.of_token = np.full(len(texts), len(self._whole), np.intp)
        self.of_token[lengths > 0] = place.reshape(-1)
        self.single = columns[[text[0] for text in set(texts) if len(text) == 1]]
        self.size = len(self._parents)

    def follow(self, after: Places, states: Sequence[int], columns: int) -> Places:
        """Where each whole piece leads from each state, shape (pieces, states).

        Args:
            after: the automaton's table in one row, its states given as the place where their own row begins.
            states: where to begin.
            columns: of the table.
        """
        reached = np.zeros((self.size, len(states)), np.intp)
        reached[0] = np.array(states) * columns
        for first, end in pairwise(self._levels[1:]):
            places = reached[self._parents[first:end]]
            places += self._steps[first:end, None]
            level = after[places]
            if not level.any():
                break
            reached[first:end] = level
        return reached[self._whole] // columns


def bounds(alternative: Alternative) -> Bounds:
    """How many tokens it may have.

    Raises:
        SchemaTooLarge: over `MAX_TOKENS`.
    """
    least, most = alternative.tokens or (0, None)
    if max(least, most or 0) > MAX_TOKENS:
        msg = f"The bounds tokens={alternative.tokens!r} go past {MAX_TOKENS:,}, up to where tokens are counted."
        raise SchemaTooLarge(f"{msg} Give smaller ones, or leave `tokens` out.")
    return least, most


class Counted:
    """An alternative for one vocabulary: from which states, after how many tokens, the count can still be met.

    Raises:
        SchemaTooLarge: the automaton, or the search through it, is too large.
    """

    def __init__(self, alternative: Alternative, vocabulary: Vocabulary) -> None:
        self.automaton: Automaton = automaton(alternative.language)
        self._pieces = _Pieces(vocabulary, self.automaton.columns)
        self._places = (self.automaton.after.astype(np.intp) * self.automaton.after.shape[1]).reshape(-1)
        self._targets: dict[int, Places] = {}
        self._rows: dict[int, Places] = {}
        self._least, self._most = bounds(alternative)
        live, self._shortest = self._alive()
        self._layers = self._from_the_end(live)

    def can(self, state: int, used: int) -> bool:
        """Whether a text at this state after `used` tokens can still be ended within the count."""
        layer = self._layer(used)
        return layer is not None and bool(layer[state])

    def may_end(self, state: int, used: int) -> bool:
        """Whether it may end right here."""
        counted = used >= self._least and (self._most is None or used <= self._most)
        return counted and bool(self.automaton.accepting[state])

    def step(self, state: int, token: bytes) -> int:
        """The state after a token."""
        after, columns = self.automaton.after, self.automaton.columns
        for byte in token:
            state = int(after[state, columns[byte]])
        return state

    def allowed(self, state: int, used: int) -> Bools:
        """The tokens that may follow, shape (vocabulary,)."""
        layer, of_token = self._layer(used + 1), self._pieces.of_token
        if layer is None:
            return np.zeros(len(of_token), np.bool_)
        row = self._rows.get(state)
        if row is None:
            row = self._follow([state])[:, 0]
            if len(self._rows) >= _ROWS:
                self._rows.pop(next(iter(self._rows)))
            self._rows[state] = row
        return np.append(layer[row], np.False_)[of_token]

    def _layer(self, used: int) -> Bools | None:
        if self._most is not None and used > self._most:
            return None
        return self._layers[min(used, len(self._layers) - 1)]

    def _from_the_end(self, live: Bools) -> list[Bools]:
        """Layer n: the states from which n tokens so far can become a right number of tokens."""
        accepting = self.automaton.accepting
        last = self._least if self._most is None else self._most
        layers: list[Bools] = [live if self._most is None else accepting]
        longest, settled = self._longest(), False
        for used in range(last - 1, -1, -1):
            if settled and used != self._least - 1:
                layers.append(layers[-1])
                continue
            left = None if self._most is None else self._most - used
            could = live if left is None else live & (self._shortest <= left * self._pieces.longest)
            if used < self._least:
                here = self._before(layers[-1], could & longest[min(self._least - used, len(longest) - 1)])
            else:
                here = self._before(layers[-1], could)
                here |= accepting
            settled = np.array_equal(here, layers[-1])
            layers.append(layers[-1] if settled else here)
        return layers[::-1]

    def _alive(self) -> tuple[Bools, Ints]:
        """States from which tokens can reach the end, and each state's fewest bytes to it."""
        accepting, after = self.automaton.accepting, self.automaton.after
        shortest = np.full(len(accepting), np.iinfo(np.int32).max, np.int32)
        reached, new, distance = accepting, accepting, 0
        while new.any():
            shortest[new] = distance
            reached = shortest <= distance
            new, distance = ~reached & np.any(reached[after], axis=1), distance + 1
        live: Bools = accepting
        while True:
            wider: Bools = np.logical_or(live, np.any(live[after[:, self._pieces.single]], axis=1))
            if np.array_equal(wider, live):  # only what no row of single bytes brings to the end is searched
                wider = np.logical_or(live, self._before(live, reached))
                if np.array_equal(wider, live):
                    return live, shortest
            live = wider

    def _longest(self) -> list[Bools]:
        """For each n up to the least tokens: the states from which some way to the end has n bytes or more."""
        found: list[Bools] = [np.arange(len(self.automaton.after)) != DEAD]
        while len(found) <= self._least:
            before: Bools = np.any(found[-1][self.automaton.after], axis=1)
            found.append(before)
            if np.array_equal(found[-1], found[-2]):
                break
        return found

    def _before(self, goal: Bools, among: Bools) -> Bools:
        """The states from which one token leads to the goal; `among` holds all that could."""
        found: Bools = np.any(goal[self.automaton.after[:, self._pieces.single]], axis=1)
        open_states = np.flatnonzero(among & ~found)
        if len(open_states):
            self._search([int(state) for state in open_states if int(state) not in self._targets])
            targets = [self._targets[int(state)] for state in open_states]
            begins = np.cumsum([0, *map(len, targets[:-1])])
            found[open_states] = np.logical_or.reduceat(goal[np.concatenate(targets)], begins)
        return found

    def _follow(self, states: Sequence[int]) -> Places:
        return self._pieces.follow(self._places, states, self.automaton.after.shape[1])

    def _search(self, states: Sequence[int]) -> None:
        """Learn where one token leads from these states."""
        if (len(self._targets) + len(states)) * self._pieces.size > MAX_STEPS:
            msg = f"Counting tokens would follow {self._pieces.size:,} pieces of tokens from {len(states):,} states"
            raise SchemaTooLarge(f"{msg}, too many. Give smaller bounds, a simpler pattern, or leave `tokens` out.")
        block = max(1, _BLOCK // self._pieces.size)
        for first in range(0, len(states), block):
            part = states[first : first + block]
            reached = self._follow(part)
            for column, state in enumerate(part):
                self._targets[state] = np.unique(np.append(reached[:, column], DEAD))


class CountedMatcher:
    """Follows one text through all alternatives; a token may follow if it may in one of them.

    Made by `counted`; `copy` is cheap and shares what was learned.
    """

    def __init__(self, ways: Sequence[tuple[Counted, int]], vocabulary: Vocabulary, used: int = 0) -> None:
        self._ways, self._vocabulary, self._used = list(ways), vocabulary, used
        self._ended = False
        self._found: Bools | None = None

    @property
    def may_end(self) -> bool:
        """Whether the text may end here."""
        return self._ended or any(way.may_end(state, self._used) for way, state in self._ways)

    @property
    def is_complete(self) -> bool:
        """Whether nothing but the end can follow."""
        return self._ended or not bool(self._allowed().any())

    def mask(self, logits: FloatArray) -> None:
        """Write -inf over every token that cannot follow."""
        barred = ~self._allowed()
        barred[list(self._vocabulary.ends)] = not self.may_end
        np.copyto(logits[: len(barred)], -np.inf, where=barred[: len(logits)])
        logits[len(barred) :] = -np.inf

    def consume(self, token: int) -> None:
        """Go on by a token.

        Raises:
            UserError: it cannot follow.
        """
        if token in self._vocabulary.ends and self.may_end:
            self._ended, self._found = True, None
            return
        text = b"" if token in self._vocabulary.control | self._vocabulary.ends else self._vocabulary.tokens[token]
        moved = [(way, way.step(state, text)) for way, state in self._ways] if text and not self._ended else []
        ways = [(way, state) for way, state in moved if way.can(state, self._used + 1)]
        if not ways:
            msg = (
                f"The token {token} ({text!r}) cannot follow after {self._used} tokens. Take one that the mask leaves."
            )
            raise UserError(msg)
        self._ways, self._used, self._found = ways, self._used + 1, None

    def forced(self) -> list[int]:
        """Tokens that must follow; how a forced text is split changes the count, so only where no other token may."""
        ahead, found = self.copy(), list[int]()
        while not ahead.may_end:
            only = np.flatnonzero(ahead._allowed())  # noqa: SLF001 - a copy of this very matcher
            if len(only) != 1:
                break
            found.append(int(only[0]))
            ahead.consume(found[-1])
        return found

    def copy(self) -> CountedMatcher:
        """A second matcher at the same place."""
        copied = CountedMatcher(self._ways, self._vocabulary, self._used)
        copied._ended, copied._found = self._ended, self._found
        return copied

    def _allowed(self) -> Bools:
        if self._found is None:
            found = np.zeros(len(self._vocabulary.tokens), np.bool_)
            for way, state in self._ways if not self._ended else []:
                found |= way.allowed(state, self._used)
            self._found = found
        return self._found


def counted(alternatives: Sequence[Alternative], vocabulary: Vocabulary) -> CountedMatcher:
    """A matcher at the beginning of a text; make it once and `copy` it.

    Raises:
        SchemaTooLarge: an automaton, or the search through it, is too large.
        UserError: this model's tokens can write no such text.
    """
    ways = [Counted(alternative, vocabulary) for alternative in alternatives]
    begun = [(way, way.automaton.start) for way in ways if way.can(way.automaton.start, 0)]
    if not begun:
        counts = " or ".join(_in_words(alternative.tokens) for alternative in alternatives)
        msg = (
            f"No text that meets the constraint has {counts} of this model's tokens. Widen `tokens` or the other parts."
        )
        raise UserError(msg)
    return CountedMatcher(begun, vocabulary)


def _in_words(bounds: Bounds | None) -> str:
    least, most = bounds or (0, None)
    return f"at least {least}" if most is None else f"{least} to {most}"


__all__ = ["MAX_STEPS", "MAX_TOKENS", "Counted", "CountedMatcher", "bounds", "counted"]
