"""Where a visitor is on the tour, and what was predicted: both stand in the address."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ...session import arrival
from .lessons import LESSONS

__all__ = ["END", "SHOWN", "go_to", "lesson_at", "predicted", "note"]

END = len(LESSONS) + 1
"""The page after the last step."""

SHOWN = "x"
"""Stands for a step whose answer was opened without a prediction."""

_OPEN = "-"


def lesson_at() -> int:
    """Return the step the visitor is at, from 1; `END` after the last; 0 on the table of contents."""
    value = st.session_state.get("lesson")
    return value if isinstance(value, int) and 1 <= value <= END else 0


def predicted() -> list[int | str | None]:
    """Return for every step the place of the predicted option, `SHOWN`, or None before the answer."""
    text = st.session_state.get("predicted")
    marks = (text if isinstance(text, str) else "").ljust(len(LESSONS), _OPEN)
    return [_mark(mark, len(lesson.options)) for mark, lesson in zip(marks, LESSONS, strict=False)]


def _mark(mark: str, options: int) -> int | str | None:
    if mark == SHOWN:
        return SHOWN
    # Only the ten digits: other signs count as digits for Python, and are no place of an option.
    return int(mark) if mark in "0123456789" and int(mark) < options else None


def note(number: int, mark: int | str) -> None:
    """Note the prediction for a step."""
    marks = predicted()
    marks[number - 1] = mark
    text = "".join(_OPEN if one is None else str(one) for one in marks)
    st.session_state["predicted"] = text.rstrip(_OPEN)


def go_to(number: int, *, afresh: bool = False, **values: Any) -> None:
    """Open a step, or the table of contents with 0; ends the run.

    Args:
        number: the step.
        afresh: whether all predictions are taken back.
        values: what else is chosen, by key of the address.
    """
    st.session_state["lesson"] = number
    if afresh:
        st.session_state["predicted"] = ""
    arrival.go("learn", **values)
