"""Models around models: the journal, budgets, retries, time, cascades, decoders."""

from synthon.wrappers.budgeted import Budgeted
from synthon.wrappers.cascading import cascade
from synthon.wrappers.decoders import Decoder, beam, best_k, best_of
from synthon.wrappers.journaled import Journaled
from synthon.wrappers.retrying import Fallback, Retrying
from synthon.wrappers.timing import Hedged, RateLimited, Timed

__all__ = [
    "Budgeted", "Decoder", "Fallback", "Hedged", "Journaled", "RateLimited", "Retrying", "Timed", "beam", "best_k",
    "best_of", "cascade",
]  # fmt: skip
