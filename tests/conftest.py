"""What every test gets: `async def` tests, an empty home of its own, no network but loopback, engine tests together."""

from __future__ import annotations

import asyncio
import functools
import inspect
import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from tests.nursery import Nursery

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # speed is no test
settings.load_profile("house")


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")


MODELS = os.environ.get("SYNTHON_MODELS") or str(_data_home() / "synthon" / "models")


def _as_sync(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(function)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(function(*args, **kwargs))

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Runs an `async def` test, also under `@given`, each on a loop of its own."""
    test = pyfuncitem.obj
    if is_hypothesis_test(test):
        if inspect.iscoroutinefunction(test.hypothesis.inner_test):
            test.hypothesis.inner_test = _as_sync(test.hypothesis.inner_test)
    elif inspect.iscoroutinefunction(test):
        pyfuncitem.obj = _as_sync(test)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests start after quick ones; those of the engine are one group (`--dist loadgroup`) and come last."""
    for item in items:
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.xdist_group("engine"))
    items.sort(key=lambda item: (bool(item.get_closest_marker("engine")), bool(item.get_closest_marker("slow"))))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home for each test: its own XDG folders, no SYNTHON_ variable but the models folder, no keys."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("SYNTHON_") or name.endswith("_API_KEY"):
                patch.delenv(name)
        for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
            patch.setenv(f"XDG_{kind}_HOME", str(folder / kind.lower()))
        patch.setenv("SYNTHON_MODELS", MODELS)
        yield folder


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Where programs run to be killed."""
    nursery = Nursery()
    yield nursery
    nursery.close()


class NetworkBlocked(BaseException):
    """Not an `Exception`, so that no retry or fallback of the code under test can swallow it."""


def _is_loopback(host: object) -> bool:
    if host in {None, "", "localhost", b"localhost"}:
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """Refuses every connection and name look-up beyond this machine, in this process, for the whole session."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(address: object) -> None:
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            message = f"A test tried to reach {address!r}; tests talk to loopback servers only."
            raise NetworkBlocked(message)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        check((host, port))
        return getaddrinfo(host, port, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield
