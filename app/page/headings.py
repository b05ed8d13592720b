"""Headings with their explanation behind a button, and lines in small type."""

from __future__ import annotations

import streamlit as st

from ..figures.words.as_text import Markdown, plain

__all__ = ["explain", "heading", "note"]


def heading(text: str, how: Markdown) -> None:
    """Draw a heading with its explanation behind a button.

    Args:
        text: the heading.
        how: how to read what follows (Markdown).
    """
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"##### {plain(text)}", width="content")
        explain(how)


def explain(how: Markdown, key: str | None = None, *, label: Markdown = "How to read this") -> None:
    """Draw the button behind which an explanation stands."""
    with st.popover(label, type="tertiary", key=key):
        st.markdown(how)


def note(text: str) -> None:
    """Draw a line in small type, if there is anything to say."""
    if text:
        st.caption(plain(text))
