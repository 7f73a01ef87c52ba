"""Tell a question's label from labelled examples: a linear classifier over their vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.recording import recorded
from synthon.retrieval.dense import embedded
from synthon.retrieval.nearest import Examples, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from synthon.core.protocols import Embedder, FloatArray
    from synthon.core.render import Demo

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]

# Round vectors that the spread is shrunk by: of twelve ways within 0.6 points of the best at 80 to 2,000 examples
# (folds of the training rows of BANKING77 and CLINC150).
_PRIOR = 1000
_WEIGHTS, _FOLDS = (0.0, 1.0, 2.0, 4.0, 8.0), 5
_DIGITS = 6  # equal scores are equal


class Probe:
    """Linear discriminant analysis (Fisher 1936) of examples' vectors, their common spread shrunk to a round one.

    Regularised as in Friedman 1989: with few examples it is the nearest mean, with many it knows which directions tell
    labels apart. Frequent labels are preferred as far as folds of the examples speak for it. Worked out at the first
    question, once.
    """

    def __init__(self, examples: Sequence[Demo], embedder: Embedder | str | None = None) -> None:
        examples = tuple(examples)
        if not examples:
            raise UserError("A linear probe was given no examples. Pass labelled ones, some of every label.")
        self._examples = Examples(examples, embedder, unit=False)  # it measures how they lie, not angles
        self._first: dict[str, int] = {}
        for place, demo in enumerate(examples):
            self._first.setdefault(to_json(demo.output), place)
        self._plane: tuple[Floats, Floats] | None = None

    def saved(self) -> dict[str, object]:
        """What a saved program keeps of it, see `Examples.saved`."""
        return self._examples.saved()

    @property
    def digest(self) -> str:
        """What decides its answers but the embedder."""
        return self._examples.digest

    async def label(self, inputs: Mapping[str, object]) -> object:
        """The output of the examples that the inputs are likest to, the first of equals; a journaled call.

        Raises:
            MissingExtra: the packaged embedder is not on this machine.
        """
        asked, embedder = text_of(inputs), self._examples.embedder

        async def act() -> str:
            if self._plane is None:
                self._plane = self._fitted(await self._examples.vectors())
            slopes, offsets = self._plane
            question = (await embedded(embedder, [asked], unit=False)).astype(np.float64)
            return str(np.argmax(np.round(question @ slopes + offsets, _DIGITS)))

        # the last tells its answers from those of a rule before, which took no account of frequency
        arguments = {"examples": self.digest, "embedder": embedder.identity, "inputs": asked, "frequent": "preferred"}
        label = int(await recorded("linear_probe", arguments, act, kind="search"))
        return self._examples.examples[[*self._first.values()][label]].output

    def _fitted(self, vectors: FloatArray) -> tuple[Floats, Floats]:
        """Slopes of shape (dim, labels) and offsets of shape (labels,)."""
        names = {name: label for label, name in enumerate(self._first)}
        labels = np.array([names[to_json(demo.output)] for demo in self._examples.examples])
        slopes, offsets = _discriminant(vectors, labels)
        return slopes, offsets + _weight(vectors, labels) * np.log(np.bincount(labels))


def _discriminant(vectors: FloatArray, labels: Labels) -> tuple[Floats, Floats]:
    """Slopes and offsets of labels 0, 1, .. that are equally frequent."""
    rows, dim = vectors.shape
    means = np.stack([vectors[labels == label].mean(axis=0, dtype=np.float64) for label in range(labels.max() + 1)])
    apart = vectors - means[labels]
    free = rows - len(means)
    spread = apart.T @ apart / max(free, 1)
    shrunk = (free * spread + _PRIOR * (np.trace(spread) / dim or 1.0) * np.eye(dim)) / (free + _PRIOR)
    slopes = np.linalg.solve(shrunk, means.T)
    return slopes, -0.5 * np.sum(means.T * slopes, axis=0)


def _weight(vectors: FloatArray, labels: Labels) -> float:
    """How much it speaks for a label that it is frequent: what tells most examples of folds apart, of equals the least.

    The shrunk spread is no scale of probabilities, so it is not 1 as in the books.
    """
    if len(labels) < 2 * _FOLDS or np.ptp(np.bincount(labels)) == 0:
        return 0.0
    places = np.random.default_rng(0).permutation(len(labels))
    right = np.zeros(len(_WEIGHTS))
    for fold in range(_FOLDS):
        held, kept = places[fold::_FOLDS], np.delete(places, np.s_[fold::_FOLDS])
        known, within = np.unique(labels[kept], return_inverse=True)
        slopes, offsets = _discriminant(vectors[kept], within)
        scores, frequent = vectors[held] @ slopes + offsets, np.log(np.bincount(within))
        for n, weight in enumerate(_WEIGHTS):
            said = np.argmax(np.round(scores + weight * frequent, _DIGITS), axis=1)
            right[n] += np.count_nonzero(known[said] == labels[held])
    return _WEIGHTS[int(right.argmax())]


__all__ = ["Probe"]
