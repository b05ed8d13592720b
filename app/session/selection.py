"""The selected concept: one at most, the same on every page, kept in the address."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from .state import all_names

__all__ = ["select_added", "select_concept", "selected_concept"]

KEY = "concept"
"""Of the address, and of every widget that chooses the selected concept."""


def selected_concept() -> str:
    """Return the selected concept; "" if none is, or none that the chosen model has."""
    name = st.session_state.get(KEY)
    return name if isinstance(name, str) and name in all_names().get("concepts", ()) else ""


def select_concept(name: str | None) -> None:
    """Select a concept, or none; call it from a callback, or before a widget that chooses it is drawn."""
    st.session_state[KEY] = name or None


def select_added(key: str, before: Sequence[str]) -> None:
    """Select what was just added to a list of concepts; what was just taken out of it is selected no more.

    Args:
        key: key of the widget of the list.
        before: what the list held before.
    """
    now = st.session_state.get(key) or ()
    added = [name for name in now if name not in before]
    if added:
        select_concept(added[-1])
    elif st.session_state.get(KEY) in before and st.session_state.get(KEY) not in now:
        select_concept(None)
