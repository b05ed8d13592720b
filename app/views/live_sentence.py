"""What Start leads with: one input before and after a concept is erased, with the switch beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from engram_core.errors import EngramError

from ..figures.words.as_text import filled, plain
from ..server.base import Base
from ..server.samples import samples
from ..session import arrival, state, visitors
from .live.sides import side_of

__all__ = ["draw"]

_LEADS = "facts-lm"  # the quickest language model, in whose sentence a change is seen at once
_ERASED = "_lead_erased"


def draw(base: Base, example_of: Callable[[Base], dict[str, Any]]) -> None:
    """Draw it.

    Args:
        base: the chosen model.
        example_of: returns the example that comes with a model.
    """
    try:
        lead = _lead(base)
        example = example_of(lead)
        names = ", ".join(example["concepts"])
        with st.container(horizontal=True, vertical_alignment="center"):
            st.session_state.setdefault(_ERASED, True)
            erased = st.toggle(filled("Erase {}", names), key=_ERASED)
            if st.button("Open it on Live", icon=":material/open_in_new:", type="tertiary", key="lead_live"):
                shown = example if erased else example | {"concepts": []}
                arrival.go("live", model=lead.facts.name, **shown)
        shown = example if erased else example | {"strength": 0.0}
        part, panel = side_of(lead).example(lead, visitors.visitor_of(lead), shown)
    except EngramError as error:
        st.warning(plain(error))
        return
    st.html(panel.html)
    said = (
        "Computed just now on {}: the same input, before and after the memory of {} is erased. Nothing here "
        "is recorded or drawn by hand."
        if erased
        else "Computed just now on {}: with the memory of {} in place, edited and base are the same."
    )
    st.caption(filled(said, lead.facts.name, names))
    part.below("example", panel)


def _lead(base: Base) -> Base:
    """Return the model that Start leads with: a language model, or the visitor's own."""
    own = base.facts.name not in samples()
    if base.is_text or own or _LEADS not in state.models():
        return base
    return visitors.base_of(_LEADS)
