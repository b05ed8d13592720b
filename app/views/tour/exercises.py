"""Exercises for a course: the text that the tour's end offers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st

__all__ = ["FILE", "exercises", "offer"]

FILE = "exercises.md"

# In the wheel the file lies beside this one, in a checkout among the docs.
_PLACES = (Path(__file__).with_name(FILE), Path(__file__).parents[3] / "docs" / FILE)


@cache
def exercises() -> str:
    """Return the exercises with their solutions, as Markdown."""
    return next(path for path in _PLACES if path.exists()).read_text(encoding="utf-8")


def offer() -> None:
    """Draw the row that offers the exercises."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            "**Exercises.** For a course or for yourself, on the same models, with solutions that run.",
            width="content",
        )
        st.download_button(
            "Download the exercises", exercises(), FILE, "text/markdown", key="tour_exercises",
            icon=":material/download:",
        )  # fmt: skip
