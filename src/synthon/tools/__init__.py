"""Act on the world.

`tool` makes a typed function something that models and programs call, journaled; sandboxes run code that nobody read.
"""

from synthon.tools.acting import Effect, effects_of, performed
from synthon.tools.arguments import IdempotencyKey
from synthon.tools.calling import call_all, call_tool
from synthon.tools.function import FunctionTool, tool
from synthon.tools.interpreters import monty
from synthon.tools.namespaces import bubblewrap
from synthon.tools.sandboxes import Ran, Sandbox

__all__ = [
    "Effect",
    "FunctionTool",
    "IdempotencyKey",
    "Ran",
    "Sandbox",
    "bubblewrap",
    "call_all",
    "call_tool",
    "effects_of",
    "monty",
    "performed",
    "tool",
]
