"""Send JSON to an endpoint and read its answer: one connection pool per event loop, no provider's SDK."""

from __future__ import annotations

import asyncio
import atexit
import io
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import inf
from os import getpid
from sys import maxsize
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

from synthon.core.errors import MissingExtra, ProviderError, ProviderTimeout, UserError
from synthon.core.identity import dumps
from synthon.models._failures import failure
from synthon.models._json import loaded
from synthon.models.sse import Event, EventReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import ModuleType

    from aiohttp import ClientResponse, ClientSession, ClientTimeout
    from yarl import URL

    from synthon.core.values import Completion

MAX_BYTES = 64 * 2**20
_CONNECT_S = 10.0
_DRAIN_S = 0.05
_LARGE = 2**20
_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SECRET = re.compile(
    r"key|token|secret|passw|signature|credential|authorization|(^|[._-])(auth|code|jwt|pass|pwd|sas|sig)$",
    re.IGNORECASE,
)


class _Pool(NamedTuple):
    closing: AsyncGenerator[ClientSession, None]
    session: ClientSession
    places: asyncio.Semaphore
    process: int


_Pools = dict[tuple[str, int], _Pool]
_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pools] = WeakKeyDictionary()
_lock = Lock()


class Assembly(Protocol):
    """Builds an answer from the events of a stream, or from one piece."""

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, so that a connection cut after it, or kept open, does no harm."""
        ...

    def take(self, event: Event) -> bool:
        """Add an event; True when nothing can follow."""
        ...

    def whole(self, payload: object) -> Completion:
        """The answer that came in one piece."""
        ...

    def completion(self) -> Completion:
        """The answer that was streamed."""
        ...


def normalised(base_url: str) -> str:
    """A URL as identities hold it: scheme and host in lower case, without default port, closing slash or fragment.

    Raises:
        UserError: it is no http(s) URL, or holds credentials, which would end up in traces.
    """
    try:
        parts = urlsplit(str(base_url).strip())
        port = parts.port
        (parts.hostname or "").encode("idna")  # as it is when it is looked up
    except ValueError as error:
        raise UserError(f"base_url is no URL ({error}). Pass one such as 'http://127.0.0.1:8000/v1'.") from None
    if "@" in parts.netloc or any(_SECRET.search(name) for name, _ in parse_qsl(parts.query)):
        msg = f"base_url for host {parts.hostname!r} holds credentials. Take them out; pass `api_key=` or `headers=`."
        raise UserError(msg)
    if parts.scheme.lower() not in _PORTS or not parts.hostname:
        raise UserError(f"base_url {base_url!r} is no http or https URL. Pass one such as 'http://127.0.0.1:8000/v1'.")
    scheme, host = parts.scheme.lower(), parts.hostname.lower()
    host = f"[{host}]" if ":" in host else host
    netloc = host if port in {None, _PORTS[scheme]} else f"{host}:{port}"
    return urlunsplit((scheme, netloc, parts.path.rstrip("/"), parts.query, ""))


def joined(base: str, path: str) -> str:
    """A normalised URL with a path appended before its query."""
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, parts.path + path, parts.query, ""))


def host_of(url: str) -> str:
    """The host of a URL, in lower case."""
    return urlsplit(url).hostname or ""


def checked_key(api_key: str | None) -> str | None:
    """A key without the white space that files add.

    Raises:
        UserError: it cannot stand in a header; the message does not show it.
    """
    key = (api_key or "").strip()
    if not key.isascii() or not key.isprintable():
        msg = "The API key holds characters that no HTTP header can carry. Copy it again, without line breaks."
        raise UserError(msg)
    return key or None


def checked_headers(headers: Mapping[str, str]) -> None:
    """Refuse what cannot stand in a header.

    Raises:
        UserError: a value holds a line break or the like; the message does not show it.
    """
    for name, value in headers.items():
        if _CONTROL.search(value):
            raise UserError(f"The header {name!r} holds a line break or another control character. strip() its value.")


@dataclass(frozen=True)
class Endpoint:
    """One URL that takes and answers JSON; header values are secrets and appear in no repr, error or log.

    Args:
        timeout_s: seconds for the whole answer, once it has a place among the `max_connections`; a connection must
            stand after 10 of them, or nine tenths of fewer.
        max_connections: in one event loop, to this origin; others wait. 0 is no limit.
        max_bytes: an answer longer than this is refused.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 600.0
    max_connections: int = 100
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        given: object = self.timeout_s
        if not isinstance(given, int | float) or not given > 0:  # aiohttp takes 0 for no limit
            raise UserError(f"timeout_s={given!r} is no time to wait for {self.url}. Pass seconds, a number above 0.")

    async def answer(self, body: Mapping[str, object], assembly: Assembly, *, stream: bool) -> Completion:
        """Post `body`; the completion that `assembly` builds.

        Raises:
            ProviderError: one of its tree; `billable` where an answer had begun.
        """
        payload = await self.send(body, assembly if stream else None)
        try:
            return assembly.completion() if payload is None else assembly.whole(payload)
        except (ProviderError, UserError) as error:
            error.attempts = error.billable = 1
            raise

    async def send(self, body: Mapping[str, object], assembly: Assembly | None = None) -> object:
        """Post `body`; the decoded JSON answer, or None where the answer was a stream and `assembly` took it.

        Cancelling closes the connection. Redirects are refused: a key goes nowhere but to its endpoint.

        Raises:
            ProviderError: one of its tree; `retryable` where the connection failed or broke off. A time-out is billable
                unless no connection stood.
        """
        data = dumps(body).encode()
        pool = await _pool(self._origin, self.max_connections)
        async with pool.places:
            return await self._post(pool.session, data, assembly)

    async def _post(self, session: ClientSession, data: bytes, assembly: Assembly | None) -> object:
        aiohttp = _aiohttp()
        response: ClientResponse | None = None
        try:
            response = await session.post(
                _url(self.url),
                data=data if len(data) < _LARGE else io.BytesIO(data),
                headers=self._sent,
                timeout=_timeout(self.timeout_s),
                allow_redirects=False,
            )
            answer = await self._read(response, assembly)
            response.release()
        except (aiohttp.ClientError, OSError) as error:  # a time-out is one
            if assembly is not None and assembly.finished:
                return None
            failed = self._failed(error, response)
        except (ProviderError, UserError) as error:
            error.attempts, error.billable = 1, error.billable or _began(response)
            raise
        else:
            return answer
        finally:
            if response is not None and not response.closed:
                response.close()
        raise failed  # out here it has no context: aiohttp's errors hold the request's headers

    @cached_property
    def _sent(self) -> dict[str, str]:
        always = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "synthon"}
        return always | dict(self.headers)

    @cached_property
    def _origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    async def _read(self, response: ClientResponse, assembly: Assembly | None) -> object:
        kind = response.content_type  # some servers stream as text/plain, or name no type
        if response.status == 200 and assembly is not None and "json" not in kind and kind != "text/html":  # noqa: PLR2004
            await self._stream(response, assembly)
            return None
        body = await self._whole(response)
        payload = loaded(body)
        if response.status // 100 == 3:  # noqa: PLR2004
            where = response.headers.get("location", "elsewhere")
            payload = f"it redirects to {where}; pass that as `base_url` if you trust it"
        if response.status != 200 or (isinstance(payload, dict) and payload.get("error")):  # noqa: PLR2004
            raise failure(self.url, self.redacted(payload), status=response.status, headers=response.headers)
        if isinstance(payload, str) and body.lstrip()[:1] in {b"", b"{"}:  # a proxy that lost its server ends it well
            msg = f"{self.url} broke off in mid-answer, after {self.shown(payload, 200)}. Nothing of it was kept;"
            raise ProviderError(f"{msg} try again.", status=response.status)
        if not isinstance(payload, dict):
            msg = f"{self.url} answered with what is no JSON object: {self.shown(payload, 200)}. Check `base_url`."
            raise ProviderError(msg, status=response.status, retryable=False)
        return payload

    async def _whole(self, response: ClientResponse) -> bytes:
        chunks, size = [], 0
        while chunk := await response.content.readany():
            size += len(chunk)
            if size > self.max_bytes:
                raise self._too_large()
            chunks.append(chunk)
        return b"".join(chunks)

    async def _stream(self, response: ClientResponse, assembly: Assembly) -> None:
        reader, size, content = EventReader(), 0, response.content
        while chunk := await content.readany():
            size += len(chunk)
            if size > self.max_bytes:
                raise self._too_large()
            for event in reader.feed(chunk):
                if assembly.take(event):
                    with suppress(TimeoutError):  # only a connection read to its end can be used again
                        async with asyncio.timeout(_DRAIN_S):
                            await content.readany()
                    return
        for event in reader.close():
            if assembly.take(event):
                return

    def redacted(self, said: object) -> object:
        """A decoded answer without the values of this endpoint's headers, which some servers echo."""
        if isinstance(said, str):
            for value in self._secrets:
                said = said.replace(value, "***")
            return said
        if isinstance(said, dict):
            return {str(self.redacted(name)): self.redacted(item) for name, item in said.items()}
        return [self.redacted(item) for item in said] if isinstance(said, list) else said

    def shown(self, said: object, most: int) -> str:
        """The beginning of an answer for a message; cut last, for half a key is not known for one."""
        return repr(str(self.redacted(said))[:most])

    @cached_property
    def _secrets(self) -> list[str]:
        """Header values, and what stands in them after a scheme such as "Bearer"."""
        values = {part.strip() for value in self.headers.values() for part in (value, value.partition(" ")[2])}
        return sorted((value for value in values if len(value) > 3), key=len, reverse=True)  # noqa: PLR2004

    def _too_large(self) -> ProviderError:
        msg = f"{self.url} answered with more than {self.max_bytes:,} bytes. Ask for less with `max_tokens`."
        return ProviderError(msg, retryable=False)

    def _failed(self, error: Exception, response: ClientResponse | None) -> ProviderError:
        if not isinstance(error, TimeoutError):
            return ProviderError(self._broken(error, answered=response is not None), billable=_began(response))
        if "connect" in type(error).__name__.lower():
            within_s = _connect_s(self.timeout_s)
            msg = f"{self.url} did not take the connection within {within_s:g} s. Check host and network."
            failed = ProviderTimeout(msg)
            failed.billable = 0
            return failed
        part = "answer" if response is None else "finish its answer"
        return ProviderTimeout(
            f"{self.url} did not {part} within {self.timeout_s:g} s. Raise `timeout_s`, or ask for less."
        )

    def _broken(self, error: Exception, *, answered: bool) -> str:
        said = self.redacted(f"{type(error).__name__}: {error}")
        if answered:
            return f"{self.url} broke off in mid-answer ({said}). Nothing of it was kept; try again."
        return f"No answer from {self.url} ({said}). Check that the server runs and that `base_url` is right."


def _began(response: ClientResponse | None) -> int:
    return int(response is not None and response.status == 200)  # noqa: PLR2004


def _aiohttp() -> ModuleType:
    try:
        import aiohttp  # noqa: PLC0415 - loaded by the first call: half of what `import synthon` may cost
    except ImportError as error:
        msg = "Endpoints need the package 'aiohttp', which is missing. Run `pip install aiohttp`."
        raise MissingExtra(msg) from error
    return aiohttp


@lru_cache(maxsize=256)
def endpoint(url: str, headers: frozenset[tuple[str, str]], timeout_s: float, max_connections: int) -> Endpoint:
    """An endpoint, made once: models keep none, so that a key from the environment is never saved with them."""
    return Endpoint(url, dict(headers), timeout_s, max_connections)


@lru_cache(maxsize=256)
def _url(url: str) -> URL:
    from yarl import URL  # noqa: PLC0415 - comes with aiohttp

    return URL(url, encoded=True)


def _connect_s(timeout_s: float) -> float:
    """Shorter than the whole, so that what is over first tells whether anything was sent."""
    return min(_CONNECT_S, 0.9 * timeout_s)


@lru_cache(maxsize=64)
def _timeout(seconds: float) -> ClientTimeout:
    # aiohttp rounds longer waits up to whole seconds, which could make the two equal.
    timeout: ClientTimeout = _aiohttp().ClientTimeout(seconds, _connect_s(seconds), ceil_threshold=inf)
    return timeout


async def _pool(origin: str, limit: int) -> _Pool:
    """This loop's pool for an origin; it closes with the loop, as `asyncio.run` closes all asynchronous generators."""
    loop = asyncio.get_running_loop()
    pools = _pools.get(loop)
    if pools is None:
        with _lock:
            _forget_closed_loops()
            pools = _pools.setdefault(loop, {})
    held = pools.get((origin, limit))
    if held is None or held.session.closed:
        closing = _opened()
        held = pools[origin, limit] = _Pool(
            closing, await anext(closing), asyncio.Semaphore(limit or maxsize), getpid()
        )
    return held


async def _opened() -> AsyncGenerator[ClientSession, None]:
    aiohttp = _aiohttp()
    connector = aiohttp.TCPConnector(limit=0)  # `places` is the limit: aiohttp's own would run on a call's time
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


def _forget_closed_loops() -> None:
    # A pool holds its loop, so weak keys alone would keep a loop closed without `asyncio.run` for ever.
    for loop in [loop for loop in _pools if loop.is_closed()]:
        for pool in _pools.pop(loop).values():
            _drop(pool.session)


def _drop(session: ClientSession) -> None:
    """Close what closes without its loop."""
    connector = session.connector
    session.detach()
    if connector is not None:
        with suppress(Exception):
            next(iter(connector.close().__await__()))


@atexit.register
def _close_what_still_runs() -> None:
    for loop, pools in list(_pools.items()):
        for pool in list(pools.values()):
            if pool.process != getpid():  # a fork's copy: closing it would break the connections of the parent
                continue
            if loop.is_running():
                with suppress(Exception):
                    asyncio.run_coroutine_threadsafe(pool.closing.aclose(), loop).result(1.0)
            if not pool.session.closed:
                _drop(pool.session)
