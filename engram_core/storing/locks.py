"""Locks between processes, which end with the process that holds them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted: that is lock enough
    fcntl = None  # type: ignore[assignment]

__all__ = ["fcntl", "locked", "try_lock"]


def try_lock(file: int) -> bool | None:
    """Lock an open file; False if somebody else has, None where the file system knows no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _same(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        mine, there = os.fstat(file), os.stat(path)
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


@contextlib.contextmanager
def locked(
    path: Path, *, patience: float = 600.0, waiting: Callable[[float], None] | None = None
) -> Iterator[bool]:
    """Hold a lock between processes and threads while the block runs.

    Args:
        path: the lock's file; made for it, and removed again.
        patience: seconds to wait for another holder; after that the block runs without the lock, because a
            process that hangs must not hold up all others for good.
        waiting: called about five times a second with the seconds waited so far; may raise, to give up.

    Yields:
        Whether the lock is held: False too where none can be made (a read-only folder).
    """
    began = time.monotonic()
    file: int | None = None
    while True:
        try:
            file = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:
            break
        mine = try_lock(file)
        if mine and _same(file, path):
            break
        os.close(file)
        file = None
        waited = time.monotonic() - began
        if mine is None or waited > patience:
            break
        if mine is False:  # else its last holder has just removed it: at once again
            if waiting is not None:
                waiting(waited)
            time.sleep(0.2)
    try:
        yield file is not None
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)  # before it is let go: whoever waits looks whether its file is still there
            os.close(file)
