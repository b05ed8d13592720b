"""The frame every page stands in: its title, what it is for, and the share menu."""

from __future__ import annotations

import streamlit as st

from ..figures.words.as_text import plain
from ..session.written_address import write_address
from .headings import note
from .selected import selected_chip
from .share import share_menu

__all__ = ["title"]


def title(text: str, sentence: str, *, page: str) -> None:
    """Draw the page's title with what it is for, the selected concept, and the share menu."""
    write_address()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"#### {plain(text)}", width="content")
        with st.container(
            horizontal=True, gap="small", vertical_alignment="center", width="content", key="frame_right"
        ):
            if page != "concept":  # which is about it, and chooses it
                selected_chip()
            share_menu(page)
    note(sentence)
