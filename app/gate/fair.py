"""Whose run comes next: those who ask for little go first, and of them those who had little.

Without it twenty visits that ask all the time leave nothing to the five that ask now and then. A run counts
in its first seconds only, since what takes longer waits for its own turns inside (`app.server.fair_lock`);
that of a greedy visit counts until it has ended, or many of them would pile up all the same.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import count

__all__ = ["Account", "Runs"]

_AT_MOST = 30.0  # seconds for which even a greedy visit's run has its place
_HALF_LIFE = 10.0  # seconds in which what one has had counts half


@dataclass(eq=False)
class Account:
    """What one visit has had lately.

    Attributes:
        had: seconds of runs, as of `at`; who has just come has had a little, or coming again would pay.
        at: when that was.
        greedy: whether it asks for more than anyone could look at.
    """

    had: float = 0.3
    at: float = field(default_factory=time.monotonic)
    greedy: bool = False

    def now(self) -> float:
        """Return the seconds that count now."""
        now = time.monotonic()
        self.had *= 0.5 ** ((now - self.at) / _HALF_LIFE)
        self.at = now
        return self.had

    def add(self, seconds: float) -> None:
        """Count seconds of a run."""
        self.had = self.now() + seconds


class Runs:
    """Places for runs, of which there are few. Everything happens on the event loop.

    Args:
        most: how many there are.
        share: seconds after which a run gives its place back.
        most_greedy: how many of them greedy visits may have.
    """

    def __init__(self, most: int, share: float, *, most_greedy: int = 1) -> None:
        self._most, self._share, self._most_greedy = most, share, most_greedy
        self._running: dict[Account, float] = {}
        self._waiting: dict[Account, tuple[int, asyncio.Future[None]]] = {}
        self._numbers = count()

    @property
    def waited_for(self) -> bool:
        """Whether anybody waits for a place."""
        return bool(self._waiting)

    async def turn(self, account: Account) -> None:
        """Wait for a place. Who has one still keeps it: a newer choice replaces the run in it."""
        self._expire()
        began = self._running.get(account)
        if began is not None and time.monotonic() - began < self._share:
            return
        self.done(account)
        ready = asyncio.get_running_loop().create_future()
        self._waiting[account] = (next(self._numbers), ready)
        try:
            self._grant()
            await ready
        except asyncio.CancelledError:
            self.done(account)
            raise
        finally:
            self._waiting.pop(account, None)

    def done(self, account: Account) -> None:
        """Give a place back; nothing happens to those who have none."""
        began = self._running.pop(account, None)
        if began is not None:
            account.add(time.monotonic() - began)
            self._grant()

    def _expire(self) -> None:
        now = time.monotonic()
        for account, began in list(self._running.items()):
            if now - began >= (_AT_MOST if account.greedy else self._share):
                self.done(account)

    def _grant(self) -> None:
        while len(self._running) < self._most:
            greedy = sum(account.greedy for account in self._running)
            may = [one for one in self._waiting if not one.greedy or greedy < self._most_greedy]
            if not may:
                return
            account = min(may, key=lambda one: (one.greedy, one.now(), self._waiting[one][0]))
            _, ready = self._waiting.pop(account)
            if ready.done():
                continue
            self._running[account] = time.monotonic()
            asyncio.get_running_loop().call_later(self._share + 0.01, self._expire)
            ready.set_result(None)
