"""Our tools and programs as an MCP server."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
from typing import TYPE_CHECKING, Any

from synthon.core.errors import MissingExtra, UserError
from synthon.core.protocols import Tool
from synthon.core.values import Text, ToolCall
from synthon.tools.acting import effects_of
from synthon.tools.calling import call_all
from synthon.tools.function import tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.lowlevel import Server

    App = Callable[[Any, Any, Any], Awaitable[None]]


def mcp_server(*served: Any, name: str = "synthon") -> Server[Any]:
    """An MCP server (of the package `mcp`, which runs it over any transport) that offers tools, steps and programs.

    A tool's effects become its hints. Every call is a run of its own in the default journal.

    Args:
        served: tools, steps and programs.
        name: what the server says it is called.

    Raises:
        MissingExtra: `mcp` is not installed.
    """
    try:
        import mcp_types as types  # noqa: PLC0415 - an extra
        from mcp.server.lowlevel import Server  # noqa: PLC0415 - same
    except ImportError as error:
        raise MissingExtra(
            "sy.mcp_server needs 'mcp', which is not installed. Run: pip install 'synthon[mcp]'"
        ) from error
    tools: list[Tool] = [tool(one) if hasattr(type(one), "part") else one for one in served]

    def described(one: Tool) -> Any:
        effects = effects_of(one)
        hints = types.ToolAnnotations(
            read_only_hint=not effects & {"write", "egress"} or effects == {"read", "egress"},
            open_world_hint="egress" in effects,
            idempotent_hint=bool(getattr(one, "honours_key", False)),
        )
        schema = json.loads(one.parameters)
        return types.Tool(name=one.name, description=one.description, input_schema=schema, annotations=hints)

    async def listed(_context: Any, _params: Any) -> Any:
        return types.ListToolsResult(tools=list(map(described, tools)))

    async def called(_context: Any, params: Any) -> Any:
        (result,) = await call_all(tools, [ToolCall("", params.name, json.dumps(params.arguments or {}))])
        blocks: list[Any] = [
            types.TextContent(text=part.text)
            if isinstance(part, Text)
            else types.ImageContent(data=part.data, mime_type=part.media_type)
            for part in result.content
        ]
        return types.CallToolResult(content=blocks, is_error=result.is_error)

    return Server(name, on_list_tools=listed, on_call_tool=called)


async def serve_mcp(
    *served: Any, name: str = "synthon", host: str = "127.0.0.1", port: int | None = None, token: str | None = None
) -> None:
    """Offer tools, steps and programs over MCP until cancelled: on standard input and output, or over HTTP at a port.

    Over HTTP it listens at `http://HOST:PORT/mcp`, without encryption: put it behind a proxy that has a certificate
    where the network is not yours.

    Args:
        served: tools, steps and programs.
        name: what the server says it is called.
        host: where to listen.
        port: of HTTP; None for standard input and output.
        token: over HTTP only who sends `Authorization: Bearer TOKEN` is answered (Jones and Hardt 2012, RFC 6750);
            others get status 401. None: everybody who reaches it, which is only allowed on loopback.

    Raises:
        UserError: it cannot listen there, it would stand open to a network, or the token is empty or not for HTTP.
    """
    if token is not None and (port is None or not token):
        msg = "sy.serve_mcp got a token that protects nothing: it is empty, or there is no port. Pass both, or neither."
        raise UserError(msg)
    if port is not None and token is None and not _is_loopback(host):
        msg = (
            f"sy.serve_mcp would let everybody who reaches {host!r} call these tools. Pass token= (the client sends "
            "it: sy.mcp_tools(url, headers={'Authorization': 'Bearer ...'})), or listen at 127.0.0.1."
        )
        raise UserError(msg)
    server = mcp_server(*served, name=name)
    if port is None:
        from mcp.server.stdio import stdio_server  # noqa: PLC0415 - an extra

        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    else:
        import uvicorn  # noqa: PLC0415 - an extra

        app: Any = server.streamable_http_app(host=host)
        app = app if token is None else guarded(app, token)
        http = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
        serving = asyncio.create_task(http.serve(sockets=[_listening(host, port)]))
        try:
            await asyncio.shield(serving)
        finally:
            http.should_exit = True  # cancelled from outside it would leave its socket open
            await serving


def guarded(app: App, token: str) -> App:
    """An ASGI application that answers whoever sends the token, and 401 to everybody else."""
    expected = f"Bearer {token}".encode()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "lifespan" or hmac.compare_digest(given, expected):
            await app(scope, receive, send)
            return
        headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return answer


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    """A socket of our own, since uvicorn ends the whole process where a port is taken."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        msg = f"sy.serve_mcp cannot listen at {host!r}, port {port!r}: {error}. Pass a port that is free."
        raise UserError(msg) from error
