"""Two runs of one session never touch its values at the same time, and the one that was replaced not at all.

Streamlit (1.67) stops a run by asking it to stop, and starts the next one at once. Each has a lock of its own
around the values that they share, so that one can be in the middle of them (between reading a value and
deleting it, or in a walk over all of them) while the other changes them: `dictionary changed size during
iteration`, or a KeyError. Here both have one lock, and who has been asked to stop hears it inside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from streamlit.runtime.scriptrunner import script_runner
from streamlit.runtime.state import SafeSessionState, SessionState

__all__ = ["OneRunState", "install"]

_guard = threading.Lock()
# By the identity of the values, which live at least as long as any run that holds their lock.
_locks: WeakValueDictionary[int, Any] = WeakValueDictionary()


def _lock_of(state: SessionState) -> Any:
    with _guard:
        lock = _locks.get(id(state))
        if lock is None:
            lock = _locks[id(state)] = threading.RLock()
        return lock


class _Checked:
    """A lock in which somebody is asked to leave again if they have been replaced."""

    def __init__(self, lock: Any, check: Callable[[], None]) -> None:
        self._lock, self._check = lock, check

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            self._check()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class OneRunState(SafeSessionState):
    """A session's values as one run sees them.

    Args:
        state: the values.
        yield_callback: raises if the run has been asked to stop.
    """

    def __init__(self, state: SessionState, yield_callback: Callable[[], None]) -> None:
        super().__init__(state, yield_callback)
        # Not by an ordinary assignment: that would be a value of the session.
        object.__setattr__(self, "_lock", _Checked(_lock_of(state), yield_callback))


def install() -> None:
    """Have every run of a page use it."""
    if not hasattr(script_runner, "SafeSessionState"):
        raise RuntimeError("Streamlit's runs hold their values in another way than app.gate.one_run knows.")
    setattr(script_runner, "SafeSessionState", OneRunState)  # noqa: B010
