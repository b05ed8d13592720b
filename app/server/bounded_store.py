"""A bounded number of things that visitors of one server opened, held for those who use them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["FullError", "BoundedStore"]

T = TypeVar("T")


class FullError(Exception):
    """There is no room, and nothing that may be let go.

    Attributes:
        count: how many things are held.
        minutes: after how many minutes the first of them may be let go if nobody uses it till then.
    """

    def __init__(self, count: int, minutes: int) -> None:
        super().__init__(f"{count} are held, none of them may be let go")
        self.count = count
        self.minutes = minutes


@dataclass
class _Held(Generic[T]):
    value: T
    used: dict[str, float] = field(default_factory=dict)  # by visitor, while it is recent
    openers: set[str] = field(default_factory=set)
    last: float = 0.0


class BoundedStore(Generic[T]):
    """A bounded number of things by name; safe between threads.

    The thing unused the longest is let go to make room, but none that another visitor used lately.

    Args:
        most: how many it holds, those of `keep` not counted.
        rest: seconds without use after which a thing of others may be let go.
        busy: tells of a thing that it is at work and cannot be let go.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        most: int,
        rest: float,
        *,
        busy: Callable[[T], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self.rest = rest
        self._busy = busy
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[str, _Held[T]] = {}
        self._kept: dict[str, T] = {}

    def keep(self, name: str, value: T) -> None:
        """Hold something for good and for everybody."""
        self._kept[name] = value

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of what is held for good."""
        return tuple(self._kept)

    def put(self, name: str, make: Callable[[], T], visitor: str) -> list[str]:
        """Hold something that a visitor opened.

        Args:
            name: name of it; what has that name is replaced, and takes room as long as it is at work.
            make: makes it, once there is room.
            visitor: whose it is.

        Returns:
            Names of what was let go.

        Raises:
            FullError: nothing may be let go; `make` was not called then.
        """
        with self._lock:
            if name in self._kept:
                return []
            held = self._held.get(name)
            at_work = held is not None and self._busy(held.value)
            gone = self._make_room(visitor) if held is None or at_work else []
            value = make()
            if held is not None and at_work:
                self._held[f"{name} {id(held)}"] = _Held(held.value)
                held = None
            if held is None:
                held = self._held[name] = _Held(value)
            held.value = value
            held.openers.add(visitor)
            self._use(held, visitor)
            return gone

    def get(self, name: str, visitor: str = "") -> T | None:
        """Return something, or None; with a visitor, it counts as used by them."""
        with self._lock:
            if name in self._kept:
                return self._kept[name]
            held = self._held.get(name)
            if held is None:
                return None
            if visitor:
                self._use(held, visitor)
            return held.value

    def opened_by(self, visitor: str) -> list[str]:
        """Return the names of what a visitor opened, the first opened first."""
        with self._lock:
            return [name for name, held in self._held.items() if visitor in held.openers]

    def rename(self, visitor: str, known: str) -> None:
        """Take what a visitor used and opened for that of another, who is the same person."""
        with self._lock:
            for held in self._held.values():
                if visitor in held.used:
                    held.used[known] = max(held.used.pop(visitor), held.used.get(known, 0.0))
                if visitor in held.openers:
                    held.openers = (held.openers - {visitor}) | {known}

    def __contains__(self, name: object) -> bool:
        return name in self._kept or name in self._held

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter([*self._kept, *self._held])

    def _use(self, held: _Held[T], visitor: str) -> None:
        held.last = self._clock()
        held.used = {who: when for who, when in held.used.items() if held.last - when < self.rest}
        held.used[visitor] = held.last

    def _make_room(self, visitor: str) -> list[str]:
        gone = []
        while len(self._held) >= self.most:
            now = self._clock()
            free = {name: held.last for name, held in self._held.items() if self._free(held, visitor, now)}
            if not free:
                waits = [self._wait(held, visitor, now) for held in self._held.values()]
                raise FullError(len(self._held), max(1, math.ceil(min(waits) / 60)))
            name = min(free, key=lambda each: free[each])
            del self._held[name]
            gone.append(name)
        return gone

    def _wait(self, held: _Held[T], visitor: str, now: float) -> float:
        """Return for how many seconds something must still be held for other visitors."""
        return max([self.rest - (now - when) for who, when in held.used.items() if who != visitor], default=0)

    def _free(self, held: _Held[T], visitor: str, now: float) -> bool:
        return not self._busy(held.value) and self._wait(held, visitor, now) <= 0
