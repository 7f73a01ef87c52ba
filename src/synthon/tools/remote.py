"""Tools and resources of MCP servers, which are strangers: what they say is data, and marked so."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from synthon.core.errors import MissingExtra, UserError
from synthon.core.identity import adapter, dumps
from synthon.core.running import span
from synthon.core.values import Image, Text, ToolResult
from synthon.tools.acting import UNDECLARED, Effect, failed, performed, value_of
from synthon.tools.contents import MAX_BYTES, contents, cut, failure

_DESCRIPTION_BYTES, _SCHEMA_BYTES = 4_000, 20_000
_READS: frozenset[Effect] = frozenset({"read"})
_ASKS: frozenset[Effect] = frozenset({"read", "egress"})  # the URI that is asked for is sent to a stranger
_RESOURCE = '{"type":"object","properties":{"uri":{"type":"string"}},"required":["uri"],"additionalProperties":false}'
_LISTED = 500
_KEYS = r"[\w-]*(?:key|token|secret|password)[\w-]*"
_SECRET = re.compile(rf"(?i)((?:^|(?<=\s))--?{_KEYS}[ =]|\b{_KEYS}=|authorization: *(?:bearer |basic )?)\S+")
_VISIBLE = "\n\t\u200c\u200d"  # the last two join letters and pictures
# What draws nothing and is of no category that says so: Unicode's Default_Ignorable_Code_Point without what colours
# pictures (FE0F), and the blank pattern of Braille.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0000-\U000e0fff]")


@dataclass(frozen=True, eq=False)
class RemoteTool:
    """A tool of an MCP server. Its description and its results are untrusted: cleaned, bounded, and marked.

    Attributes:
        untrusted: the server that its words come from; it stands in the attributes of its spans too.
        effects: `write`, unless the user trusts the server and it says that the tool only reads; `read` and `egress`
            of `read_resource`, `read` where it is trusted.
    """

    journals: ClassVar[bool] = True
    name: str
    description: str
    parameters: str
    untrusted: str
    act: Callable[[Mapping[str, object]], Awaitable[object]] = field(repr=False)
    effects: frozenset[Effect] = UNDECLARED
    honours_key: bool = False
    timeout_s: float = 60.0
    max_bytes: int = MAX_BYTES

    async def call(self, arguments: Mapping[str, object]) -> ToolResult:
        """Call it, journaled; what no server could read is not sent."""
        name, mark = f"{self.name}@{self.untrusted}", dumps({"untrusted": self.untrusted})
        try:
            json.dumps(arguments, ensure_ascii=False, allow_nan=False, default=repr).encode()
        except ValueError as error:  # half characters would end the connection, and with it the caller
            with span(name, "tool", arguments) as opened:
                opened.row.attributes = mark
                said = f"Nothing was sent: the arguments of {self.name!r} hold what JSON in UTF-8 cannot ({error})."
                opened.output = result = failure(f"{said} Give whole characters and finite numbers only.")
                return result

        row = await performed(
            name, arguments, lambda _key: self.act(arguments), effects=self.effects, honours_key=self.honours_key,
            timeout_s=self.timeout_s, attributes=mark,
        )  # fmt: skip
        if said := failed(row):
            return failure(clean(said))
        found = json.loads(value_of(row))
        if not isinstance(found, list) or len(found) != 2:  # noqa: PLR2004 - a person settled it with another value
            return ToolResult("", contents(found, self.max_bytes))
        parts: list[Text | Image] = adapter(list[Text | Image]).validate_python(found[0])
        return ToolResult("", contents(parts, self.max_bytes), is_error=bool(found[1]))


@asynccontextmanager
async def mcp_tools(
    server: str | Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    trusted: bool = False,
    prefix: str = "",
    timeout_s: float = 60.0,
) -> AsyncIterator[list[RemoteTool]]:
    """The tools of an MCP server while the block runs; one more, `read_resource`, where it has resources.

    Args:
        server: the command that starts it (stdio), or its URL (streamable HTTP).
        env: variables of the command's process, besides HOME, PATH and the like.
        headers: of HTTP requests, e.g. an authorization.
        trusted: whether its word is taken that a tool only reads, or may be repeated.
        prefix: of the tools' names, so that two servers, or a server and you, do not take the same.
        timeout_s: of one call, and of the start until all tools are listed.

    Raises:
        MissingExtra: `mcp` is not installed.
        UserError: the server cannot be reached, refuses you, or does not answer in time.
    """
    try:
        import httpx2  # noqa: PLC0415 - an extra
        import mcp  # noqa: PLC0415 - same
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415 - same
    except ImportError as error:
        msg = "sy.mcp_tools needs 'mcp', which is not installed. Run: pip install 'synthon[mcp]'"
        raise MissingExtra(msg) from error
    origin = _origin(server)
    raised: BaseException | None = None
    refused: list[int] = []  # the package tells of no status

    async def see(response: Any) -> None:
        if response.status_code in {401, 403}:
            refused.append(response.status_code)

    try:
        async with AsyncExitStack() as stack:
            if isinstance(server, str):
                http = httpx2.AsyncClient(
                    headers=dict(headers or {}), timeout=timeout_s, event_hooks={"response": [see]}
                )
                transport: Any = streamable_http_client(server, http_client=await stack.enter_async_context(http))
            else:
                transport = mcp.StdioServerParameters(command=server[0], args=list(server[1:]), env=dict(env or {}))
            async with asyncio.timeout(timeout_s):
                client = await stack.enter_async_context(mcp.Client(transport))
                found = await _offered(client, origin, trusted=trusted)
            try:
                yield [replace(one, name=_called(prefix + one.name), timeout_s=timeout_s) for one in found]
            except BaseException as error:
                raised = error
                raise
    except (BaseExceptionGroup, OSError, mcp.MCPError) as broken:  # the client's task groups make groups of errors
        if raised is not None:
            raise raised from None
        msg = f"The MCP server {origin!r} cannot be reached: {_first(broken)!r}. Look whether it starts and answers."
        if refused:
            msg = f"The MCP server {origin!r} answers status {refused[0]}: pass the headers= that authorize you."
        raise UserError(msg) from broken


def _origin(server: str | Sequence[str]) -> str:
    """What a server is called in rows and spans, without what its address or its command holds of secrets."""
    if isinstance(server, str):
        return re.sub(r"(?<=//)[^/]*@|\?.*", "", server)
    return _SECRET.sub(r"\1***", " ".join(server))


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _offered(client: Any, origin: str, *, trusted: bool) -> list[RemoteTool]:
    offers = client.server_capabilities
    found = [_tool(client, one, origin, trusted=trusted) for one in await _pages(client, "tools", offers.tools)]
    resources = await _pages(client, "resources", offers.resources)
    return [*found, _reader(client, resources, origin, _READS if trusted else _ASKS)] if resources else found


async def _pages(client: Any, kind: str, offered: object) -> list[Any]:
    """All that a server lists, up to a bound; nothing of what it does not offer."""
    found: list[Any] = []
    cursor: str | None = None
    while offered is not None and len(found) < _LISTED:
        page = await getattr(client, f"list_{kind}")(cursor=cursor)
        found += getattr(page, kind)
        cursor = page.next_cursor
        if cursor is None:
            break
    return found[:_LISTED]


def _tool(client: Any, listed: Any, origin: str, *, trusted: bool) -> RemoteTool:
    async def act(arguments: Mapping[str, object]) -> object:
        result = await client.call_tool(listed.name, dict(arguments))
        parts = list(map(_part, result.content))
        if not parts and result.structured_content is not None:
            parts = [Text(clean(dumps(result.structured_content)))]
        return [parts, result.is_error]

    hints = listed.annotations if trusted else None
    parameters = dumps(_cleaned(listed.input_schema))
    return RemoteTool(
        listed.name,
        cut(clean(listed.description or listed.name), _DESCRIPTION_BYTES),
        parameters if len(parameters) <= _SCHEMA_BYTES else '{"type":"object"}',
        origin,
        act,
        _READS if hints is not None and hints.read_only_hint else UNDECLARED,
        honours_key=bool(hints is not None and hints.idempotent_hint),
    )


def _reader(client: Any, resources: Sequence[Any], origin: str, effects: frozenset[Effect]) -> RemoteTool:
    async def act(arguments: Mapping[str, object]) -> object:
        result = await client.read_resource(str(arguments["uri"]))
        return [list(map(_resource, result.contents)), False]

    known = "\n".join(clean(f"{one.uri}: {one.description or one.name}") for one in resources)
    words = cut(f"Read a resource by its URI. There are:\n{known}", _DESCRIPTION_BYTES)
    return RemoteTool("read_resource", words, _RESOURCE, origin, act, effects)


def _part(block: Any) -> Text | Image:
    if block.type == "image":
        return Image(block.data, block.mime_type)
    if block.type == "resource":
        return _resource(block.resource)
    return Text(clean(block.text) if block.type == "text" else f"[{block.type}: {clean(getattr(block, 'uri', ''))}]")


def _resource(resource: Any) -> Text | Image:
    kind, text = resource.mime_type or "", getattr(resource, "text", None)
    if text is None and kind.startswith("image/"):
        return Image(resource.blob, kind)
    return Text(f"[{clean(resource.uri)} holds {kind or 'bytes'}]" if text is None else clean(text))


def clean(text: str) -> str:
    """A stranger's text without control and invisible characters, which could hide or turn round what it says."""
    text = _BLANK.sub("", text)
    return "".join(c for c in text if c in _VISIBLE or unicodedata.category(c) not in {"Cc", "Cf", "Co", "Cs", "Cn"})


def _cleaned(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {clean(name): _cleaned(item) for name, item in schema.items()}
    if isinstance(schema, list):
        return [_cleaned(item) for item in schema]
    return clean(schema) if isinstance(schema, str) else schema


def _called(name: str) -> str:
    """A name that models can call."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
