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

_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_SLOW = {"idna", "punycode"}  # no charsets of pages, and quadratic: a megabyte would hold up the loop for minutes
_PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp"}  # what models see


async def fetch(url: str, listed: frozenset[str], max_bytes: int) -> str | Image:
    """A page, or a picture.

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
    return f"{text}\n[cut after {max_bytes:,} bytes]" if is_cut else text


def _decoded(body: bytes, charset: str) -> str:
    """A page's text; one whose charset is none is read as UTF-8."""
    with suppress(LookupError):
        if codecs.lookup(charset).name not in _SLOW:
            return body.decode(charset, errors="replace")
    return body.decode(errors="replace")


def _refuse_unlisted(url: URL, listed: frozenset[str]) -> None:
    host = (url.host or "").lower().rstrip(".")
    if url.scheme not in _PORTS or not host or url.user or url.password:
        raise ValueError(f"{str(url)!r} cannot be fetched: give a whole http or https address without a password.")
    names = {host, *(f"*.{host.split('.', n)[n]}" for n in range(1, host.count(".") + 1))}
    wanted = names if url.port == _PORTS[url.scheme] else {f"{name}:{url.port}" for name in names}
    if not wanted & listed:
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
        public = [
            each
            for each in found
            if ipaddress.ip_address(each["host"]).is_global or {each["host"], f"{each['host']}:{port}"} & self._listed
        ]
        if not public:
            raise ValueError(f"{host!r} has no public address, and its private one is not on the list of hosts.")
        return public

    async def close(self) -> None:
        """Nothing is held."""
