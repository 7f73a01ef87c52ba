"""General ways to spend more calls for a better answer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthon.strategies.acting import agent, react
    from synthon.strategies.calling import next_calls
    from synthon.strategies.choosing import best_of, refine
    from synthon.strategies.debating import debate
    from synthon.strategies.demonstrating import reasoned
    from synthon.strategies.dividing import map_reduce
    from synthon.strategies.ending import Ends
    from synthon.strategies.hopping import multi_hop
    from synthon.strategies.labelling import linear_probe, neighbour_vote
    from synthon.strategies.moves import Calls
    from synthon.strategies.programming import program_of_thought
    from synthon.strategies.remembering import Memory
    from synthon.strategies.testing import generate_and_test
    from synthon.strategies.thinking import chain_of_thought, predict
    from synthon.strategies.voting import self_consistency, shuffled_ensemble, uncertainty_routed

__all__ = [
    "Calls",
    "Ends",
    "Memory",
    "agent",
    "best_of",
    "chain_of_thought",
    "debate",
    "generate_and_test",
    "linear_probe",
    "map_reduce",
    "multi_hop",
    "neighbour_vote",
    "next_calls",
    "predict",
    "program_of_thought",
    "react",
    "reasoned",
    "refine",
    "self_consistency",
    "shuffled_ensemble",
    "uncertainty_routed",
]
_FILES = {
    "acting": ("agent", "react"),
    "calling": ("next_calls",),
    "choosing": ("best_of", "refine"),
    "debating": ("debate",),
    "demonstrating": ("reasoned",),
    "dividing": ("map_reduce",),
    "ending": ("Ends",),
    "hopping": ("multi_hop",),
    "labelling": ("linear_probe", "neighbour_vote"),
    "moves": ("Calls",),
    "programming": ("program_of_thought",),
    "remembering": ("Memory",),
    "testing": ("generate_and_test",),
    "thinking": ("chain_of_thought", "predict"),
    "voting": ("self_consistency", "shuffled_ensemble", "uncertainty_routed"),
}


def __getattr__(name: str) -> object:
    """A name from the file it stands in, loaded when it is first used (PEP 562)."""
    file = next((file for file, names in _FILES.items() if name in names), None)
    if file is None:
        msg = f"module 'synthon.strategies' has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(f"synthon.strategies.{file}"), name)
    globals()[name] = value
    return value
