"""The samples as cards: a picture of each, what it is, what to try, and the way there."""

from __future__ import annotations

from html import escape

import streamlit as st

from ..figures.words.as_text import filled, plain
from ..server.sample_cards import Card, card_of
from ..server.samples import samples
from ..session import arrival

__all__ = ["draw"]

_IN_A_ROW = 3


def draw() -> None:
    """Draw the cards of all samples on this server."""
    cards = [card_of(name) for name in samples()]
    st.markdown("##### Samples to try")
    with st.container(key="gallery"):
        for first in range(0, len(cards), _IN_A_ROW):
            row = cards[first : first + _IN_A_ROW]
            for place, card in zip(st.columns(_IN_A_ROW), row, strict=False):
                with place, st.container(border=True, height="stretch", vertical_alignment="distribute"):
                    _card(card)


def _card(card: Card) -> None:
    with st.container():
        if card.picture:
            alt = f"Made from the model: {card.line}"
            st.html(f'<img class="ee-card" src="{escape(card.picture)}" alt="{escape(alt)}">')
        st.markdown(filled("**{}** · {}", card.title, card.kind) if card.kind else plain(card.title))
        st.caption(plain(card.line))
    with st.container():
        if card.tried:
            st.markdown(filled("**Try:** {}", card.tried))
        if st.button("Open", key=f"open_{card.name}", width="stretch"):
            arrival.go("live", model=card.name, **_example(card))


def _example(card: Card) -> dict[str, object]:
    """Return the example of a sample; of one without, what Live shows first."""
    return {"concepts": []} | dict(card.show)
