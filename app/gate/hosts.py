"""Under which names this server answers, and which web pages may talk to it.

A web page of a stranger can give its own name the address 127.0.0.1 (DNS rebinding). The browser then sends
that page's requests here, and takes the answers for the page's own. The name in the Host header gives it
away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["Hosts"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True)
class Hosts:
    """The names that are answered.

    Args:
        host: address or name that the server listens on.
        allowed: further names, such as the public one of a proxy.
    """

    host: str = "127.0.0.1"
    allowed: tuple[str, ...] = ()
    _names: frozenset[str] = field(init=False, repr=False)
    _own: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        own = frozenset(_plain(name) for name in self.allowed)
        listens = frozenset({_plain(self.host)}) - _EVERYWHERE
        object.__setattr__(self, "_own", own)
        object.__setattr__(self, "_names", _LOOPBACK | listens | own)

    def answers(self, host: str | None, *, local: str = "") -> bool:
        """Say whether a request for a host is answered.

        Args:
            host: the Host header.
            local: address at which the request came in. It is a number and no name, so no page can borrow it.

        Returns:
            Whether it is.
        """
        split = _split(host)
        return split is not None and (split[0] in self._names or (bool(local) and split[0] == _plain(local)))

    def of_own_page(self, origin: str | None, host: str | None) -> bool:
        """Say whether a request comes from a page of this server, or from no page at all.

        Args:
            origin: the Origin header; None where a program asks that is no browser.
            host: the Host header, of a request that is answered.

        Returns:
            Whether it does.
        """
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        page, here = _split(parts.netloc), _split(host)
        if parts.scheme not in ("http", "https") or page is None or here is None:
            return False
        if page[0] in self._own:
            return True
        if page == here:
            return True
        # One machine under two of its names: localhost in the bar, 127.0.0.1 in a proxy's settings.
        return page[0] in _LOOPBACK and here[0] in _LOOPBACK and page[1] == here[1]


def _plain(name: str) -> str:
    return name.strip().strip("[]").rstrip(".").lower()


def _split(host: str | None) -> tuple[str, int | None] | None:
    """Return name and port of a Host header, or None if it is none."""
    if not host or len(host) > 300 or host != host.strip() or any(sign in host for sign in "/\\@?#, \t"):
        return None
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not name:
        return None
    if ":" in name or name.replace(".", "").isdigit():
        try:
            name = str(ip_address(name))
        except ValueError:
            return None
    return name.rstrip(".").lower(), port


def network(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the 64-bit network of an IPv6 one."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return ":".join(parsed.exploded.split(":")[:4])


def names(values: Iterable[str]) -> tuple[str, ...]:
    """Return names as they are compared.

    Raises:
        ValueError: if one is no name of a host.
    """
    plain = tuple(_plain(value) for value in values)
    for value, name in zip(values, plain, strict=True):
        if _split(f"[{name}]" if ":" in name else name) is None:
            raise ValueError(value)
    return plain
