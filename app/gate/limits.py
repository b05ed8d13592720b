"""How much one connection, one address and all together may ask for."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

__all__ = ["Bucket", "Limits"]

_MB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of one server. Times are in seconds, sizes in bytes, rates per second.

    Attributes:
        uploads: whether files can be uploaded at all.
        metrics: whether Streamlit's figures about itself are served.
        most_frame: size of one message from a browser. Nothing larger is read.
        most_widgets: widgets that one request may set.
        messages: how many messages one connection may send at once, and how many a second from then on.
        reruns: how many runs of a page one connection may ask for at once, and a second from then on. What
            comes faster is put together: only the newest values count.
        asks: requests for a run at once, and a second from then on, after which a connection counts as
            greedy. Its runs are the last to come, few at a time, until it has asked for less.
        most_alive: runs of one session that may be alive at once. One that was replaced lives on until it
            next touches its page.
        most_running: runs of all sessions that may be in their first seconds at once.
        most_greedy: how many of them may be runs of greedy connections. These count until they have ended.
        share: seconds after which a run no longer counts to `most_running`.
        visits: how many visits (pages that are open) all addresses, and one, may have at a time.
        arrivals: visits that one address may begin at once, and a second from then on.
        flood_price: how many arrivals it costs an address when a visit is ended for flooding.
        requests: requests by HTTP of one address at once, and a second from then on.
        connections: connections of all addresses, and of one.
        header_seconds: how long the head of a request may take to arrive.
        request_seconds: how long a whole request, its answer included, may take.
        silent_seconds: how long a visit may go without asking for its first run.
        stuck_seconds: how long a browser may take no further bytes of an answer.
        grace_seconds: how long the state of a visit is kept after its connection ended.
        upload_files: files that one visit may have on the server.
        upload_bytes: bytes of them.
        all_upload_bytes: bytes of the files of all visits.
    """

    uploads: bool = True
    metrics: bool = True
    most_frame: int = 4 * _MB
    most_widgets: int = 2000
    messages: tuple[float, float] = (60, 20)
    reruns: tuple[float, float] = (6, 6)
    asks: tuple[float, float] = (6, 1.5)
    most_alive: int = 3
    most_running: int = 1 + (os.cpu_count() or 1)
    most_greedy: int = 1
    share: float = 1.5
    visits: tuple[int, int] = (300, 300)
    arrivals: tuple[float, float] = (120, 4)
    flood_price: float = 6
    requests: tuple[float, float] = (4000, 200)
    connections: tuple[int, int] = (2000, 1000)
    header_seconds: float = 10
    request_seconds: float = 300
    silent_seconds: float = 20
    stuck_seconds: float = 15
    grace_seconds: float = 10
    upload_files: int = 8
    upload_bytes: int = 110 * _MB
    all_upload_bytes: int = 1024 * _MB

    @classmethod
    def of(cls, *, demo: bool) -> Limits:
        """Return the limits of one's own machine, or of a public screen."""
        if not demo:
            return cls()
        return cls(
            uploads=False,
            metrics=False,
            most_frame=_MB // 2,
            most_widgets=1000,
            most_alive=2,
            visits=(300, 100),
            connections=(2000, 400),
        )


class Bucket:
    """So much at once, and so much a second from then on.

    Args:
        size: what can be taken at once.
        refill: what comes back in a second.
    """

    def __init__(self, size: float, refill: float) -> None:
        self._size, self._refill = size, refill
        self._left, self._at = size, time.monotonic()

    def _level(self) -> float:
        now = time.monotonic()
        self._left = min(self._size, self._left + (now - self._at) * self._refill)
        self._at = now
        return self._left

    def take(self, amount: float = 1.0) -> bool:
        """Take some; return False, and take nothing, if there is not enough."""
        if self._level() < amount:
            return False
        self._left -= amount
        return True

    def owe(self, amount: float) -> None:
        """Take some that need not be there; what is owed comes back first."""
        self._left = max(self._level() - amount, -self._size)

    def wait(self) -> float:
        """Return the seconds until one can be taken."""
        return max(0.0, (1.0 - self._level()) / self._refill)

    @property
    def owes(self) -> bool:
        """Whether more was taken than was there."""
        return self._level() < 0

    @property
    def full(self) -> bool:
        """Whether nothing is missing."""
        return self._level() >= self._size
