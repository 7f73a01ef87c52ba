"""Search for a likely text over several sequences at once: beams, and best first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from synthon.core.values import Completion, Finish, TokenLogprob, Usage
from synthon.engine.binding import BATCH
from synthon.engine.generation import TextStream, left_open
from synthon.engine.scheduler import Feed, Open, Opened
from synthon.engine.scoring import logprobs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from synthon.core.protocols import FloatArray
    from synthon.core.values import Request
    from synthon.decoding import Matcher
    from synthon.engine.binding import Weights
    from synthon.engine.prefixes import Slot
    from synthon.engine.scheduler import Program, Question


@dataclass(frozen=True, slots=True)
class Decoder:
    """A search: `width` sequences side by side; `best_k` may compute `budget` tokens in all."""

    kind: Literal["beam", "best_k"]
    width: int
    budget: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """A beginning of an answer, its tokens' own log-probabilities, and what may follow it."""

    tokens: tuple[int, ...] = ()
    parts: tuple[float, ...] = ()
    matcher: Matcher | None = None
    is_finished: bool = False

    @property
    def total(self) -> float:
        """The natural log-probability of the whole, the end token with it."""
        return sum(self.parts)


class _Search:
    """What both searches share: expanding a text by its likeliest tokens, and the completion at the end."""

    def __init__(self, weights: Weights, request: Request, width: int) -> None:
        self._weights, self._request, self._width = weights, request, width
        self.computed = 0

    def expanded(self, text: _Text, logits: FloatArray) -> list[_Text]:
        """The text with each of the likeliest tokens that may follow, likeliest first."""
        row = logprobs(logits)
        if text.matcher is not None:
            text.matcher.mask(logits)
        count = min(2 * self._width, logits.size)
        top = np.argpartition(logits, -count)[-count:]
        top = top[np.argsort(-logits[top], kind="stable")]
        return [self._grown(text, int(token), float(row[token])) for token in top if np.isfinite(logits[token])]

    def _grown(self, text: _Text, token: int, logprob: float) -> _Text:
        tokens, parts = (*text.tokens, token), (*text.parts, logprob)
        if self._weights.ends(token):
            return _Text(tokens, parts, None, is_finished=True)
        matcher = None
        if text.matcher is not None:
            matcher = text.matcher.copy()
            matcher.consume(token)
        done = (matcher is not None and matcher.is_complete) or self._stopped(tokens)
        return _Text(tokens, parts, matcher, is_finished=done)

    def _stopped(self, tokens: Sequence[int]) -> bool:
        return bool(self._request.stop) and any(stop in self.spelled(tokens) for stop in self._request.stop)

    def spelled(self, tokens: Sequence[int]) -> str:
        """The tokens as text, whole, stop strings and all."""
        return b"".join(map(self._weights.piece, tokens)).decode(errors="replace")

    def completion(self, text: _Text, prompt: int, cached: int, emit: Callable[[str], None]) -> Completion:
        """The text as the answer, given to `emit` at once."""
        stream = TextStream(self._request.stop)
        said = stream.push(b"".join(map(self._weights.piece, text.tokens))) + stream.close()
        emit(said)
        finish: Finish = "stop" if text.is_finished else "length"
        named = [(self.spelled([token]), part) for token, part in zip(text.tokens, text.parts, strict=True)]
        return Completion(
            said,
            Usage(prompt - cached, cached, output_tokens=self.computed),
            logprobs=tuple(TokenLogprob(*pair) for pair in named) if self._request.logprobs else (),
            finish=finish,
            unmet=left_open(self._request.constraint, text.matcher, finish),
        )


def search(
    weights: Weights,
    prompt: list[int],
    request: Request,
    decoder: Decoder,
    matcher: Matcher | None,
    emit: Callable[[str], None],
) -> Program:
    """The likeliest text found, by the sum of its tokens' log-probabilities; one that is cut off if none was finished.

    A constraint leaves only texts that keep to it, ranked by the model's own probabilities. `Usage.output_tokens` are
    all the tokens that were computed.
    """
    opened = yield Open(prompt, request.max_tokens or 0, request.salt, decoder.width)
    assert isinstance(opened, Opened)  # noqa: S101 - the answer to Open
    searching = _Search(weights, request, decoder.width)
    begun = searching.expanded(_Text(matcher=matcher), opened.logits)
    find = _beam if decoder.kind == "beam" else _best_first
    found = yield from find(searching, begun, opened, decoder, request.max_tokens or 0)
    return searching.completion(found, len(prompt), opened.cached, emit)


_Found: TypeAlias = "Generator[Question, Opened | list[FloatArray], _Text]"


def _beam(searching: _Search, begun: list[_Text], opened: Opened, decoder: Decoder, most: int) -> _Found:
    finished: list[_Text] = []
    alive: list[_Text] = [_Text()]
    slots: dict[int, Slot] = {0: opened.slots[0]}
    grown = [(0, text) for text in begun]
    while True:
        finished += [text for _, text in grown if text.is_finished]
        going = sorted(
            ((parent, text) for parent, text in grown if not text.is_finished), key=lambda pair: -pair[1].total
        )[: decoder.width]
        best = max(finished, key=lambda text: text.total, default=None)
        if best is not None and (not going or best.total >= going[0][1].total):
            return best
        if not going:
            return max(alive, key=lambda text: text.total)
        alive = [text for _, text in going]
        if len(alive[0].tokens) >= most:
            return best or alive[0]
        slots = _moved(opened, slots, [parent for parent, _ in going])
        rows = yield [Feed(slots[place], text.tokens[-1:]) for place, text in enumerate(alive)]
        assert isinstance(rows, list)  # noqa: S101 - the answer to feeds
        searching.computed += len(alive)
        grown = [(place, text) for place, row in enumerate(rows) for text in searching.expanded(alive[place], row[0])]


def _moved(opened: Opened, slots: dict[int, Slot], parents: Sequence[int]) -> dict[int, Slot]:
    """A slot for each text: its parent's for the first child, copies of that for the others."""
    free = [slot for slot in opened.slots if slot not in {slots[parent] for parent in parents}]
    moved: dict[int, Slot] = {}
    heirs: set[int] = set()
    for place, parent in enumerate(parents):
        if parent in heirs:
            moved[place] = free.pop()
            opened.prefixes.copy(slots[parent], moved[place])
        else:
            heirs.add(parent)
            moved[place] = slots[parent]
    return moved


def _best_first(searching: _Search, begun: list[_Text], opened: Opened, decoder: Decoder, most: int) -> _Found:
    waiting, finished = list(begun), []
    held: dict[Slot, tuple[int, ...]] = {opened.slots[0]: ()}  # what lies in a slot after the prompt
    prompt = opened.slots[0].length
    while True:
        finished += [text for text in waiting if text.is_finished]
        waiting = sorted((text for text in waiting if not text.is_finished), key=lambda text: -text.total)
        best = max(finished, key=lambda text: text.total, default=None)
        going = [text for text in waiting[: decoder.width] if len(text.tokens) < most]
        is_best = best is not None and (not waiting or best.total >= waiting[0].total)
        feeds = _placed(opened, prompt, held, [] if is_best else going)
        computed = searching.computed + sum(len(feed.tokens) for feed in feeds)
        if not feeds or computed > decoder.budget:
            return best or max(waiting, key=lambda text: (len(text.tokens), text.total), default=_Text())
        searching.computed = computed
        while far := [feed for feed in feeds if len(feed.tokens) > BATCH]:  # texts that left their slot long ago
            yield [replace(feed, tokens=feed.tokens[:BATCH]) for feed in far]
            feeds = [replace(feed, tokens=feed.tokens[BATCH:]) if feed in far else feed for feed in feeds]
        rows = yield feeds
        assert isinstance(rows, list)  # noqa: S101 - the answer to feeds
        waiting = [text for text in waiting if text not in going]
        waiting += [grown for text, row in zip(going, rows, strict=True) for grown in searching.expanded(text, row[0])]


def _placed(opened: Opened, prompt: int, held: dict[Slot, tuple[int, ...]], going: Sequence[_Text]) -> list[Feed]:
    """Each text in the slot that holds most of it already, and what is to be computed there."""
    feeds = []
    free = list(opened.slots)
    for text in going:
        slot = max(free, key=lambda slot: _common(held.get(slot), text.tokens[:-1]))
        free.remove(slot)
        if slot not in held:
            opened.prefixes.copy(opened.slots[0], slot)
        kept = max(0, _common(held.get(slot, ()), text.tokens[:-1]))
        opened.prefixes.cut(slot, prompt + kept)
        held[slot] = text.tokens
        feeds.append(Feed(slot, text.tokens[kept:]))
    return feeds


def _common(held: tuple[int, ...] | None, tokens: Sequence[int]) -> int:
    if held is None:
        return -1
    pairs = enumerate(zip(held, tokens, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(held), len(tokens)))
