"""How the server ends: in good order at the first signal, at once at the second, never with a traceback."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

__all__ = ["at_once", "in_order", "status"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 6.0  # seconds for the good order; work in a thread may take longer than anyone waits

_received: list[int] = []


def at_once() -> None:
    """From here on let a signal end this process wherever it stands."""
    for number in _SIGNALS:
        # The kernel shields the first process of a container from signals that it has no handler for.
        signal.signal(number, _leave if os.getpid() == 1 else signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        # Held back by whoever became this process, so that none is answered by Python's own handler.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def in_order(stop: Callable[[], None]) -> None:
    """From here on let the first signal ask for the end, and the second not wait for it.

    Args:
        stop: asks for the end; is called between two steps of the main thread.
    """

    def first(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        at_once()
        threading.Thread(target=_wait_no_longer, name="end", daemon=True).start()
        if hasattr(signal, "alarm"):
            # For what holds all threads still.
            signal.alarm(int(_PATIENCE) + 4)
        stop()

    for number in _SIGNALS:
        signal.signal(number, first)


def status() -> int:
    """Return the exit status: 0, or what a shell expects of a process that a signal has ended."""
    return 128 + _received[0] if _received else 0


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _wait_no_longer() -> None:
    time.sleep(_PATIENCE)
    os._exit(status())
