"""What is bounded before there is a request: connections, heads that never end, frames that say nothing."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from .hosts import network
from .limits import Bucket, Limits

__all__ = ["ABORT", "protocols"]

# In a connection's scope: how to end it at once, whatever its browser has not taken yet.
ABORT = "engram.abort"
_SILENT_FRAMES = (200.0, 50.0)  # pings and parts of messages, at once and a second from then on
# Bytes that the system holds for a browser that does not read; by itself it would hold megabytes for each.
_SEND_BUFFER = 256 * 1024
_CLOSING = 5.0  # seconds that a browser has to answer a close, or to take the last bytes


class _Connections:
    """Who is connected, by address."""

    def __init__(self, limits: Limits, proxies: Iterable[str]) -> None:
        self._most, self._most_of_one = limits.connections
        self._proxies = frozenset(proxies)
        self._of: dict[asyncio.BaseTransport, str] = {}
        self._counts: Counter[str] = Counter()

    def enter(self, transport: asyncio.BaseTransport) -> bool:
        """Count a connection; return False if there are too many."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        key = network(address)
        many = len(self._of) >= self._most
        if many or (self._counts[key] >= self._most_of_one and address not in self._proxies):
            return False
        self._of[transport] = key
        self._counts[key] += 1
        return True

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """Count it no more."""
        key = self._of.pop(transport, None)
        if key is not None:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]


def protocols(
    limits: Limits, *, proxies: Iterable[str] = ()
) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """Return uvicorn's protocols for HTTP and for websockets, with limits.

    Args:
        limits: the limits.
        proxies: addresses that bring many visitors each.
    """
    known = _Connections(limits, proxies)

    class Http(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _timed_body = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if (plain := transport.get_extra_info("socket")) is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            if known.enter(transport):
                self._watch()
            else:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            known.leave(self.transport)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._unwatch()
            super().handle_websocket_upgrade(event)

        def _watch(self) -> None:
            """Hold a clock beside a head or a body that is on its way."""
            state = self.conn.their_state
            head, body = state is h11.IDLE, state is h11.SEND_BODY
            if self.transport.is_closing() or not (head or body) or self._upgraded:
                self._unwatch()
            elif self._timer is None or self._timed_body != body:
                self._unwatch()
                self._timed_body = body
                seconds = limits.request_seconds if body else limits.header_seconds
                self._timer = self.loop.call_later(seconds, self._late)

        @property
        def _upgraded(self) -> bool:
            return self.transport.get_protocol() is not self

        def _unwatch(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            self._timer = None
            # Waiting for the answer to the last request is no fault of the browser.
            answering = self.cycle is not None and not self.cycle.response_complete
            if self._upgraded or (answering and not self._timed_body):
                return
            self.transport.abort()

    class Socket(WebSocketsSansIOProtocol):
        _silent: Bucket | None = None

        def connection_lost(self, exc: Exception | None) -> None:
            known.leave(self.transport)
            super().connection_lost(exc)

        def handle_connect(self, event: Any) -> None:
            super().handle_connect(event)
            if getattr(self, "scope", None) is not None:
                self.scope[ABORT] = self._abort  # type: ignore[literal-required]

        def handle_ping(self) -> None:
            super().handle_ping()
            self._count()

        def handle_pong(self, event: Frame) -> None:
            super().handle_pong(event)
            self._count()

        def handle_cont(self, event: Frame) -> None:
            super().handle_cont(event)
            self._count()

        def _count(self) -> None:
            if self._silent is None:
                self._silent = Bucket(*_SILENT_FRAMES)
            if not self._silent.take():
                self.transport.abort()

        def _abort(self) -> None:
            self.loop.call_later(_CLOSING, self.transport.abort)

    return Http, Socket
