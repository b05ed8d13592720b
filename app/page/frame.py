"""The frame every page stands in: its title, what it is for, the scenes, and the share menu."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ..figures.words.as_text import plain
from ..session.state import put
from ..session.written_address import write_address
from .headings import note
from .scene_bar import scene_bar, scene_note
from .selected import selected_chip
from .share import share_menu

__all__ = ["title"]


def title(text: str, sentence: str, *, page: str) -> DeltaGenerator | None:
    """Draw the page's title with what it is for, the scenes, and the share menu.

    Args:
        text: the title.
        sentence: what the page is for.
        page: its name.

    Returns:
        The dock at the foot of the window, for further controls of the page, while somebody presents.
    """
    write_address()
    presenting = st.session_state.get("present") is True
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="page_title"
    ):
        st.markdown(f"#### {plain(text)}", width="content")
        with st.container(
            horizontal=True, horizontal_alignment="right", vertical_alignment="center", width="content",
            key="page_menu",
        ):  # fmt: skip
            if page != "concept":  # which is about it, and chooses it
                selected_chip()
            if not presenting:
                scene_bar(page, large=False)
                st.button(
                    "Present", icon=":material/present_to_all:", type="tertiary", key="present_on",
                    on_click=put, kwargs={"present": True},
                    help="Large type, the controls at the foot, and the side bar folded away.",
                )  # fmt: skip
            share_menu(page)
    note(sentence)
    if not presenting:
        if seen := scene_note(page):
            st.caption(seen)
        return None
    with st.container(key="dock", horizontal=True, vertical_alignment="center", gap="small"):
        scene_bar(page, large=True)
        more = st.container(key="dock_more", horizontal=True, vertical_alignment="center", width="content")
        st.button(
            "", icon=":material/close_fullscreen:", type="tertiary", key="present_off", on_click=put,
            kwargs={"present": False}, help="Leave presenter mode",
        )  # fmt: skip
    return more
