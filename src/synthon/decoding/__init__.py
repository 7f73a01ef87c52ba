"""Force text into a shape: choice, regex, schema, grammar, predicates."""

from synthon.core.constraints import Soundness
from synthon.decoding.compiling import Compiled, compiled, soundness, unmet
from synthon.decoding.matcher import Matcher
from synthon.decoding.vocabulary import Vocabulary

__all__ = ["Compiled", "Matcher", "Soundness", "Vocabulary", "compiled", "soundness", "unmet"]
