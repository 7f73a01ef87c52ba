"""Act on the world.

`tool` makes a typed function something that models and programs call, journaled. Sandboxes run code that nobody read,
`mcp_tools` brings the tools of other servers here, and the shipped tools calculate, query, read, write and fetch.
"""

from synthon.tools.acting import Effect, effects_of, performed
from synthon.tools.arguments import IdempotencyKey
from synthon.tools.arithmetic import calculator
from synthon.tools.calling import call_all, call_tool
from synthon.tools.dates import calendar
from synthon.tools.function import FunctionTool, tool
from synthon.tools.interpreters import monty
from synthon.tools.namespaces import bubblewrap
from synthon.tools.pages import http_get
from synthon.tools.passages import search
from synthon.tools.programs import python
from synthon.tools.queries import sql
from synthon.tools.remote import RemoteTool, mcp_tools
from synthon.tools.sandboxes import Ran, Sandbox
from synthon.tools.serving import mcp_server, serve_mcp
from synthon.tools.workspaces import workspace

__all__ = [
    "Effect",
    "FunctionTool",
    "IdempotencyKey",
    "Ran",
    "RemoteTool",
    "Sandbox",
    "bubblewrap",
    "calculator",
    "calendar",
    "call_all",
    "call_tool",
    "effects_of",
    "http_get",
    "mcp_server",
    "mcp_tools",
    "monty",
    "performed",
    "python",
    "search",
    "serve_mcp",
    "sql",
    "tool",
    "workspace",
]
