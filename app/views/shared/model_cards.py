"""The models as cards in one row: a click opens one on the page that is shown."""

from __future__ import annotations

import streamlit as st

from ...figures.words.as_text import Markdown, plain
from ...server.sample_cards import card_of
from ...session import arrival, state

__all__ = ["draw"]

_PICKED = "_model_card"
_MOST = 8  # cards in a row; the list at the side has all models


def draw() -> None:
    """Draw the row; nothing where there is only one model."""
    names = state.models()
    if len(names) < 2:
        return
    shown = names[:_MOST]
    if state.model() not in shown:
        shown[-1] = state.model()
    # It follows the list at the side and keeps no choice of its own.
    st.session_state[_PICKED] = state.model()
    with st.container(key="model_cards"):
        st.pills(
            "Model", shown, format_func=_label, key=_PICKED, required=True, on_change=_picked,
            label_visibility="collapsed", wrap=True,
        )  # fmt: skip


def _label(name: str) -> Markdown:
    card = card_of(name)
    said = f"**{plain(card.title)}** {plain(card.kind)}"
    return f"![{plain(card.title)}]({_address(card.icon)}) {said}" if card.icon else said


def _address(icon: str) -> Markdown:
    # Letters, digits, "+", "/" and "=", made by `card_of` from a file of ours: nothing in it is Markdown.
    return Markdown(icon)


def _picked() -> None:
    name = st.session_state[_PICKED]
    if name and name != state.model():
        # The input of its example, and nothing switched off: the next click is the visitor's.
        inputs = {key: value for key, value in card_of(name).show.items() if key != "concepts"}
        arrival.choose_model(name, **inputs)
