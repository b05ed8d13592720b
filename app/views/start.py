"""Start: a sentence of a language model, live; the samples as cards; then three doors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from ..figures.words.as_text import Markdown, filled, plain
from ..options import server_options
from ..page import frame
from ..server.base import Base
from ..server.model_facts import Missing, ModelFacts, facts_of, missing, others
from ..session import arrival, state
from . import gallery, live_sentence
from .tour import place as tour

__all__ = ["page"]

_WHAT = (
    "A trained network keeps all its memories in the same weights. An **engram** is the part of those "
    "weights that answers one memory: computed in closed form from one pass over the data, it can be taken "
    "out, put back and combined, and every page here shows what that does and what it costs."
)


@dataclass(frozen=True)
class _Door:
    title: Markdown
    sentence: Markdown
    page: str
    label: Markdown


_DOORS = (
    _Door(
        "Show me",
        "The example of the model that is loaded, with every switch in your hand.",
        "live",
        "Open the example",
    ),
    _Door(
        "Teach me",
        "A tour in ten steps: you predict, then the model answers. The four criteria, controls and limits.",
        "learn",
        "Start the tour",
    ),
    _Door(
        "My model", "Your network and your data: a check-up, then these same pages.", "model", "Bring a model"
    ),
)


def page(base: Base) -> None:
    """Draw the page that everybody starts on, for a model."""
    frame.title("See what a network remembers, and erase it", "", page="start")
    st.markdown(_WHAT)
    # The place first: of a model that is not in memory yet the work is done last, below a whole page.
    lead = st.container(key="lead")
    gallery.draw()
    _doors(base)
    _loaded(base)
    with lead:
        live_sentence.draw(base, _example)


def _example(base: Base) -> dict[str, Any]:
    """Return the example that comes with a model, or its first concept."""
    known = base.explorer.get("show") or {"concepts": [base.facts.classes[0]]}
    # What it does not name is named here: Live would show what the visitor had there.
    return ({} if base.is_text else {"class": base.facts.classes[0], "image": 1}) | dict(known)


def _doors(base: Base) -> None:
    for place, door in zip(st.columns(len(_DOORS)), _DOORS, strict=True):
        with place, st.container(border=True, height="stretch", vertical_alignment="distribute"):
            with st.container():
                st.markdown(f"##### {door.title}")
                st.markdown(door.sentence)
            closed = door.page == "model" and server_options().demo
            if closed:
                st.caption("Closed on this public screen.")
            kind: Any = "primary" if door.page == "live" else "secondary"
            if not st.button(
                door.label, key=f"door_{door.page}", type=kind, width="stretch", disabled=closed
            ):
                continue
            if door.page == "live":
                arrival.go("live", model=base.facts.name, **_example(base))
            if door.page == "learn":
                tour.go_to(1, afresh=True)
            arrival.go(door.page)


def _loaded(base: Base) -> None:
    st.markdown("##### What is loaded")
    _card(facts_of(base), chosen=True)
    with st.expander("The other models on this server"):
        for known in others(state.models(), base.facts.name):
            _card(known, chosen=False)
        # A public screen's visitors cannot install anything.
        for absent in () if server_options().demo else missing():
            _absent(absent)


def _absent(sample: Missing) -> None:
    st.markdown(filled("**{}** ({}), not installed. {}", sample.title, sample.name, sample.summary))
    st.markdown("To add it, run this on the server and load the page again:", width="content")
    st.code(sample.command, language="bash", wrap_lines=True)


def _card(known: ModelFacts, *, chosen: bool) -> None:
    left, right = (st, st) if chosen else st.columns([5, 1], vertical_alignment="center")
    left.markdown(filled("**{}** ({}). {}", known.title, known.name, known.summary))
    left.caption(plain(known.details))
    if not chosen and right.button("Choose", key=f"choose_{known.name}", width="stretch"):
        arrival.go("start", model=known.name)
