"""A lock that is handed on in the order in which it was asked for, and long work that keeps to it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from contextlib import closing, nullcontext
from types import TracebackType
from typing import Any, TypeVar

from engram_core.progress import Step

__all__ = ["COMPUTE_LOCK", "FairLock", "lock_each_step"]

R = TypeVar("R")


class FairLock:
    """A re-entrant lock whose holders take turns.

    An ordinary lock goes to whichever thread asks at the right moment, often the one that has just let it
    go: among twenty visitors whose scores were computed in portions, one waited longer than 90 s for six
    tokens. Here nobody is passed, but for those who ask `ahead`: an answer that somebody is waiting for
    goes before the scores below it.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ahead: deque[tuple[int, threading.Lock]] = deque()
        self._queue: deque[tuple[int, threading.Lock]] = deque()
        self._owner: int | None = None
        self._depth = 0
        self.ahead = _Ahead(self)

    def acquire(self, *, ahead: bool = False) -> None:
        """Wait for one's turn."""
        me = threading.get_ident()
        with self._guard:
            if self._owner in (None, me):
                self._owner = me
                self._depth += 1
                return
            gate = threading.Lock()
            gate.acquire()
            (self._ahead if ahead else self._queue).append((me, gate))
        gate.acquire()

    def release(self) -> None:
        """End one's turn; the next in line has it at once."""
        with self._guard:
            if self._owner != threading.get_ident():
                raise RuntimeError("This thread does not have its turn.")
            self._depth -= 1
            if self._depth:
                return
            waiting = self._ahead or self._queue
            if waiting:
                self._owner, gate = waiting.popleft()
                self._depth = 1
                gate.release()
            else:
                self._owner = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Ahead:
    def __init__(self, lock: FairLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.acquire(ahead=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


# Held only while one step is computed, so that visitors take turns instead of waiting for a whole run.
COMPUTE_LOCK = FairLock()


def lock_each_step(
    steps: Generator[Step[Any], None, R], *, lock: FairLock = COMPUTE_LOCK
) -> Generator[Step[Any], None, R]:
    """Go through long work and take a turn for every step of it, so that others have theirs between two.

    A step that is long shares nothing and is done without a turn: nobody waits for it but who asked.

    Args:
        steps: the work.
        lock: held for the time of one step.

    Yields:
        The same steps.

    Returns:
        The result of the work.
    """
    long = False
    with closing(steps):
        while True:
            with nullcontext() if long else lock:
                try:
                    step = next(steps)
                except StopIteration as end:
                    result: R = end.value
                    return result
            long = step.long
            yield step
