"""Pages of listed hosts, and of no other."""

from __future__ import annotations

from collections.abc import Collection

from synthon.core.errors import UserError
from synthon.core.values import Image
from synthon.tools.function import FunctionTool, tool

_NOTE_BYTES = 100  # for what says that a page was cut, which must not be cut itself


def http_get(
    hosts: Collection[str], *, max_bytes: int = 1_000_000, timeout_s: float = 20.0
) -> FunctionTool[[str], str | Image]:
    """A tool that fetches a page, if its host is on the list, and so is every host it is redirected to.

    What a listed name resolves to must be a public address, unless the address itself is listed; it is the address that
    is then connected to. No cookies, no proxy of the environment, no password in an address.

    Args:
        hosts: "example.org" (http on port 80, https on 443), "*.example.org" (what is below it), "example.org:8080"
            (that port only), "127.0.0.1:8000", "[::1]:8000".
        max_bytes: of a page; one that is longer is cut, and a note says so.
        timeout_s: of a call, redirects included.

    Raises:
        UserError: what is given is no list of hosts.
    """
    listed = _listed(hosts)

    async def get(url: str) -> str | Image:
        from synthon.tools._fetching import fetch  # noqa: PLC0415 - loads aiohttp

        return await fetch(url, listed, max_bytes)

    words = f"Fetch a page over HTTP. Only these hosts may be asked: {', '.join(sorted(map(str.lower, hosts)))}."
    # a GET may be sent twice (RFC 9110, section 9.2.2), so it honours the key
    made = tool(
        name="http_get",
        description=words,
        effects={"read", "egress"},
        honours_key=True,
        timeout_s=timeout_s,
        max_bytes=max_bytes + _NOTE_BYTES,
    )
    return made(get)


def _listed(hosts: Collection[str]) -> frozenset[str]:
    from synthon.tools._hosts import entry_of  # noqa: PLC0415 - loads yarl

    found = {hosts: ""} if isinstance(hosts, str) else {host: entry_of(host) for host in hosts}
    if wrong := [host for host, entry in found.items() if not entry]:
        msg = f"sy.tools.http_get takes a list of hosts, not {wrong[0]!r}. Pass such as ['example.org']."
        raise UserError(msg)
    return frozenset(found.values())
