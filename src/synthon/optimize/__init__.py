"""Change a program's knobs to score higher or cost less; certify it.

`search` fills a `History` by a `Method`: a batch of `Ask`s at a time, points of a `Space` on cases.
"""

import sys
from types import ModuleType

from synthon.optimize.certificate import Certificate, certificate, without_luck
from synthon.optimize.certifying import certify
from synthon.optimize.exporting import Exported, export
from synthon.optimize.finetuning import LoRA, finetune
from synthon.optimize.front import Dial, Front
from synthon.optimize.history import Ask, History, Limits, Measure, Summary
from synthon.optimize.optimizing import optimize
from synthon.optimize.outcome import Optimization, Optimized
from synthon.optimize.planning import Plan, plan
from synthon.optimize.racing import racing
from synthon.optimize.random_search import random_search
from synthon.optimize.searching import Measuring, Method, search
from synthon.optimize.space import Dimension, Kind, Point, Space
from synthon.optimize.tpe import tpe

__all__ = [
    "Ask", "Certificate", "Dial", "Dimension", "Exported", "Front", "History", "Kind", "Limits",
    "LoRA", "Measure", "Measuring", "Method", "Optimization", "Optimized", "Plan", "Point", "Space", "Summary",
    "certificate", "certify", "export", "finetune", "optimize", "plan", "racing", "random_search", "search", "tpe",
    "without_luck",
]  # fmt: skip


class _Room(ModuleType):
    """`sy.optimize` is the function; once this room is imported, Python makes that name the room: so it is called."""

    __call__ = staticmethod(optimize)


sys.modules[__name__].__class__ = _Room
