"""The selected concept in the frame of every page: its name, the way to its page, and a way to let it go."""

from __future__ import annotations

import streamlit as st

from ..figures.words.as_text import filled
from ..session import arrival
from ..session.selection import select_concept, selected_concept

__all__ = ["selected_chip"]

_LONGEST = 28  # letters of a name; the concept's page says all of it


def selected_chip() -> None:
    """Draw the chip; nothing if no concept is selected."""
    name = selected_concept()
    if not name:
        return
    short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    with st.container(
        horizontal=True, gap=None, vertical_alignment="center", width="content", key="selected"
    ):
        opened = st.button(
            filled("Selected: **{}**", short), key="selected_open", 
            help="Highlighted on every page. Opens the page of this concept.",
        )  # fmt: skip
        st.button("✕", key="selected_clear", on_click=select_concept, args=(None,), help="Select nothing")
    if opened:
        arrival.go("concept")
