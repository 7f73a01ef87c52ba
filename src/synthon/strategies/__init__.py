"""General ways to spend more calls for a better answer."""

from synthon.strategies.choosing import best_of, refine
from synthon.strategies.thinking import chain_of_thought, predict
from synthon.strategies.voting import self_consistency, shuffled_ensemble, uncertainty_routed

__all__ = [
    "best_of",
    "chain_of_thought",
    "predict",
    "refine",
    "self_consistency",
    "shuffled_ensemble",
    "uncertainty_routed",
]
