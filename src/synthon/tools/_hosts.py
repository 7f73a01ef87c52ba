"""Lists of hosts, their entries written as the hosts of addresses are, so that the two can be compared."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address

from yarl import URL

PORTS = {"http": 80, "https": 443}


def entry_of(text: str) -> str:
    """An entry as addresses are written: "MÜNCHEN.de." is "xn--mnchen-3ya.de", "::1" is "[::1]"; a port stays.

    What is no host, so that no address could match it, is empty.
    """
    below, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    with suppress(ValueError):
        name = f"[{IPv6Address(name)}]"
    if set(name) & set("*/?#@") or name.split() != [name]:
        return ""
    with suppress(ValueError):
        url = URL(f"http://{name}")
        port = "" if url.explicit_port is None else f":{url.explicit_port}"
        return host_of(url) and f"{below}{host_of(url)}{port}"
    return ""


def host_of(url: URL) -> str:
    """The host of an address, an international name in ASCII, IPv6 in brackets; empty where there is none."""
    return (url.host_subcomponent or "").lower().rstrip(".")


def is_listed(url: URL, listed: frozenset[str]) -> bool:
    """Whether an http or https address is on a list: an entry without a port is the scheme's own, one with it that."""
    host = host_of(url)
    names = {host, *(f"*.{host.split('.', n)[n]}" for n in range(1, host.count(".") + 1))}
    wanted = {f"{name}:{url.port}" for name in names}
    return bool(listed & (wanted | names if url.port == PORTS[url.scheme] else wanted))
