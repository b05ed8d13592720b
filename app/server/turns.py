"""Turns: a lock that is handed on in the order in which it was asked for, and long work that keeps to it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import TypeVar

__all__ = ["HEAVY", "Report", "Turns", "in_turns"]

T = TypeVar("T")

_LOOK = 0.2  # seconds after which a visitor who has left is noticed, even within a portion


class Turns:
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

    def pause(self) -> None:
        """Let those who wait have their turns, in the middle of one's own."""
        self.release()
        self.acquire()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do something long in the middle of one's turn that others need not wait for."""
        self.release()
        try:
            yield
        finally:
            self.acquire()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Ahead:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        self._turns.acquire(ahead=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.release()


# Held only while one portion is computed, so that visitors take turns instead of waiting for a whole run.
HEAVY = Turns()


class _Left(BaseException):
    """Nobody waits for this work any more; no `except Exception` on its way may keep it alive."""


class Report:
    """What work in a thread of its own reports to; see `in_turns`. It can be given as `progress`."""

    def __init__(self, turns: Turns | None) -> None:
        self._turns = turns
        self._news: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
        self._left = threading.Event()

    def __call__(self, done: int, total: int | None, doing: str) -> None:
        """Say how far the work is, and let others have their turns."""
        self._news.put((done / total if total else 0.0, doing))
        self.pause()

    def pause(self) -> bool:
        """Let others have their turns; can be given as `stop`, since it never asks for a partial result."""
        self.check()
        if self._turns is not None:
            self._turns.pause()
        self.check()
        return False

    def check(self) -> None:
        """End the work here if nobody waits for it."""
        if self._left.is_set():
            raise _Left

    def leave(self) -> None:
        """Let the work end at its next report."""
        self._left.set()

    def end(self) -> None:
        """Say that there will be no more reports."""
        self._news.put(None)

    def newest(self) -> tuple[bool, tuple[float, str] | None]:
        """Wait a moment; return whether there will be no more reports, and the last one since."""
        try:
            news = [self._news.get(timeout=_LOOK)]
        except queue.Empty:
            return False, None
        while not self._news.empty():  # only the newest is worth a step
            news.append(self._news.get())
        return None in news, next((one for one in reversed(news) if one), None)


def in_turns(
    work: Callable[[Report], T], *, turns: Turns | None = HEAVY
) -> Iterator[tuple[float, str, T | None]]:
    """Do one long piece of work in a thread of its own; others have their turns whenever it reports.

    Functions of the core report as they go on, but return only once. Here a page gets each report as a step,
    between two of which it can be left; the work then ends at its next report.

    Args:
        work: is called with what it shall report to.
        turns: whose turns to keep; None for work that shares nothing and reports too seldom.

    Yields:
        The share done, what is being done, and at the end the result.
    """
    report = Report(turns)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        with turns if turns is not None else nullcontext():
            try:
                report.check()
                results.append(work(report))
            except _Left:
                pass
            except BaseException as error:  # raised again where it is waited for
                errors.append(error)
        report.end()

    threading.Thread(target=run, name="in turns", daemon=True).start()
    share, doing, ended = 0.0, "", False
    try:
        while not ended:
            yield min(share, 0.999), doing, None
            ended, news = report.newest()
            share, doing = news or (share, doing)
    finally:
        report.leave()
    if errors:
        raise errors[0]
    yield 1.0, "", results[0]
