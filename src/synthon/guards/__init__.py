"""Check what goes in and out.

`guard` holds a field of a step's output against validators and says what happens to what they refuse.
"""

from synthon.guards.formats import valid_email, valid_json, valid_python, valid_sql, valid_url
from synthon.guards.measures import in_range, length
from synthon.guards.prose import language, no_profanity, reading_level, similar_to
from synthon.guards.results import Fail, Pass, Validator
from synthon.guards.rules import Action, Rule, guard, guarded, guarded_sync
from synthon.guards.texts import choices, matches, no_repeated_ngrams, satisfies

__all__ = [
    "Action",
    "Fail",
    "Pass",
    "Rule",
    "Validator",
    "choices",
    "guard",
    "guarded",
    "guarded_sync",
    "in_range",
    "language",
    "length",
    "matches",
    "no_profanity",
    "no_repeated_ngrams",
    "reading_level",
    "satisfies",
    "similar_to",
    "valid_email",
    "valid_json",
    "valid_python",
    "valid_sql",
    "valid_url",
]
