"""HTTP GET within a list of hosts; loaded at the first fetch, since aiohttp is half of the room's import time."""

from __future__ import annotations

import base64
import codecs
import ipaddress
import socket
from contextlib import suppress

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from synthon.core.values import Image
from synthon.tools._hosts import PORTS, host_of, is_listed

_REDIRECTS = 5
_SLOW = {"idna", "punycode"}  # no charsets of pages, and quadratic: a megabyte would hold up the loop for minutes
_PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp"}  # what models see


async def fetch(url: str, listed: frozenset[str], max_bytes: int) -> str | Image:
    """A page, or a picture; of a page that is longer, `max_bytes` of UTF-8 and a note.

    Args:
        url: of the page.
        listed: entries, see `entry_of`.
        max_bytes: of the page as it is sent, and of its text.

    Raises:
        ValueError: a host is not listed, or answers with an error.
    """
    connector = aiohttp.TCPConnector(resolver=_Public(listed), force_close=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        at = URL(url)
        for _ in range(_REDIRECTS + 1):
            _refuse_unlisted(at, listed)
            async with session.get(at, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as reply:
                if reply.status not in {301, 302, 303, 307, 308} or "Location" not in reply.headers:
                    return await _told(reply, max_bytes)
                at = at.join(URL(reply.headers["Location"]))
    raise ValueError(f"{url!r} is redirected more than {_REDIRECTS} times.")


async def _told(reply: aiohttp.ClientResponse, max_bytes: int) -> str | Image:
    body = bytearray()
    while len(body) <= max_bytes and (piece := await reply.content.read(1 << 16)):
        body += piece
    is_cut = len(body) > max_bytes
    if reply.content_type in _PICTURES and not is_cut:
        return Image(base64.b64encode(bytes(body)).decode(), reply.content_type)
    text = _decoded(bytes(body[:max_bytes]), reply.charset or "utf-8")
    if not reply.ok:
        raise ValueError(f"{reply.url} answered {reply.status} {reply.reason}: {text[:500]}")
    kept = text.encode(errors="replace")[:max_bytes].decode(errors="ignore")  # in UTF-8 a page may be longer
    return f"{kept}\n[cut after {max_bytes:,} bytes]" if is_cut or len(kept) < len(text) else text


def _decoded(body: bytes, charset: str) -> str:
    """A page's text; one whose charset is none is read as UTF-8."""
    with suppress(LookupError):
        if codecs.lookup(charset).name not in _SLOW:
            return body.decode(charset, errors="replace")
    return body.decode(errors="replace")


def _refuse_unlisted(url: URL, listed: frozenset[str]) -> None:
    if url.scheme not in PORTS or not host_of(url) or url.user or url.password:
        raise ValueError(f"{str(url)!r} cannot be fetched: give a whole http or https address without a password.")
    if not is_listed(url, listed):
        raise ValueError(f"{url.host_port_subcomponent!r} is not on the list of hosts: {', '.join(sorted(listed))}.")


class _Public(AbstractResolver):
    """Resolves names to public addresses only; aiohttp connects to what it returns."""

    def __init__(self, listed: frozenset[str]) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._listed = listed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a host.

        Raises:
            ValueError: they are all private and not listed.
        """
        found = await self._inner.resolve(host, port, family)
        public = [each for each in found if self._may_be_asked(each["host"], port)]
        if not public:
            raise ValueError(f"{host!r} has no public address, and its private one is not on the list of hosts.")
        return public

    def _may_be_asked(self, address: str, port: int) -> bool:
        name = f"[{address}]" if ":" in address else address
        return ipaddress.ip_address(address).is_global or bool({name, f"{name}:{port}"} & self._listed)

    async def close(self) -> None:
        """Nothing is held."""
