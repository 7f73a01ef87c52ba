"""Change a program's knobs to score higher or cost less; certify it.

`search` fills a `History` by a `Method`: a batch of `Ask`s at a time, points of a `Space` on cases.
"""

from synthon.optimize.history import Ask, Difference, History, Limits, Measure, Summary
from synthon.optimize.racing import racing
from synthon.optimize.random_search import random_search
from synthon.optimize.searching import Measuring, Method, search
from synthon.optimize.space import Dimension, Kind, Point, Space

__all__ = [
    "Ask",
    "Difference",
    "Dimension",
    "History",
    "Kind",
    "Limits",
    "Measure",
    "Measuring",
    "Method",
    "Point",
    "Space",
    "Summary",
    "racing",
    "random_search",
    "search",
]
