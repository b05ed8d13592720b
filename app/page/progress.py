"""The bar of long work: what is being done, how far it is, and a way to stop it and to go on."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import streamlit as st

from engram_core.progress import Step, watch

from ..choice.address import to_query
from ..figures.words.as_text import plain
from ..figures.words.duration import duration
from ..session import state

__all__ = ["Bar", "Stopped", "run"]

R = TypeVar("R")

_SHOWN_AFTER = 1.0
"""Seconds of work before there is something to stop."""

_TOLD_AFTER, _TOLD_AT = 3.0, 0.05
"""Seconds of work, and share of it, after which the rest is estimated."""

_HALTED = "_halted"  # work that was stopped: key → (what it was for, how far it was)


class Stopped(Exception):
    """The visitor has stopped this work; what depends on it cannot be drawn.

    Where nothing catches it, it ends the page, as `st.stop` would.
    """


class Bar:
    """A bar at the place where it is made.

    A click ends a running script between two steps and starts the page again. So the button only notes that
    this work is not wanted: the new run comes to the same bar, which then says so instead of going on.
    Whatever is changed, the work is another and begins; what was done of it is remembered.

    Args:
        key: tells the works of one page apart.
        of: what the work is made of, if that is less than everything the visitor has chosen.
    """

    def __init__(self, key: str, *, of: Any = None) -> None:
        self._key = key
        self._for = to_query(state.values()) if of is None else of
        # One below the other: side by side, what a run before left there moves the button under the mouse.
        self._place, self._button = st.empty(), st.empty()
        self._since: float | None = None
        self._offered = False
        self._first: tuple[float, float] | None = None  # share and time at which it was first seen

    def advance(self, share: float, text: str) -> None:
        """Say how far the work is.

        Raises:
            Stopped: if the visitor has stopped it.
        """
        halted: dict[str, tuple[Any, int]] = st.session_state.setdefault(_HALTED, {})
        wanted, far = halted.get(self._key, (None, 0))
        if wanted == self._for:
            self._say(far)
            raise Stopped
        halted.pop(self._key, None)
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        st.session_state[f"_far_{self._key}"] = int(100 * share)
        self._place.progress(share, text=plain(text + self._left(share, now)))
        if not self._offered and now - self._since >= _SHOWN_AFTER:
            self._offered = True
            self._button.button(
                "Stop", icon=":material/stop_circle:", key=f"stop_{self._key}", type="tertiary",
                on_click=_halt, args=(self._key, self._for),
            )  # fmt: skip

    def _left(self, share: float, now: float) -> str:
        """Return about how long it will still take, once that can be told."""
        if self._first is None:
            # What is remembered of an earlier run is done at once, and says nothing of the rest.
            self._first = (share, now)
        done, since = share - self._first[0], now - self._first[1]
        if since < _TOLD_AFTER or done < _TOLD_AT:
            return ""
        return f" · {duration(since * (1 - share) / done)} left"

    def empty(self) -> None:
        """Take the bar away."""
        self._place.empty()
        self._button.empty()

    def _say(self, far: int) -> None:
        self._place.caption(
            f"Stopped at {far} %. What is done is remembered: go on, or change anything to begin anew."
        )
        self._button.button(
            "Go on", icon=":material/play_arrow:", key=f"go_on_{self._key}", type="tertiary",
            on_click=_go_on, args=(self._key,),
        )  # fmt: skip


def _halt(key: str, wanted: Any) -> None:
    st.session_state.setdefault(_HALTED, {})[key] = (wanted, st.session_state.get(f"_far_{key}", 0))


def _go_on(key: str) -> None:
    st.session_state.setdefault(_HALTED, {}).pop(key, None)


def run(steps: Generator[Step[Any], None, R], *, key: str = "", of: Any = None, what: str = "") -> R:
    """Work to the end with a bar that says what is done; leaving the page ends it between two steps.

    Args:
        steps: the work.
        key: tells works apart that are made by one function on one page.
        of: see `Bar`.
        what: what is said before what the work says itself.

    Returns:
        The result.

    Raises:
        Stopped: if the visitor has stopped it.
    """
    bar = Bar(f"{getattr(steps, '__qualname__', 'work')} {key}".rstrip(), of=of)

    def see(step: Step[Any]) -> None:
        if step.share < 1:
            text = f"{what}: {step.what}" if what else step.what
            bar.advance(step.share, text=text[:1].upper() + text[1:])

    found = watch(steps, see)
    bar.empty()
    return found
