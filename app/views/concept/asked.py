"""Concept, what is measured: all of a small model, the slow blocks of a large one on request."""

from __future__ import annotations

import streamlit as st

from ...choice.choice import SEEDS
from ...compute.criteria import MANY, SHAMS
from ...figures.words.concept import HELP
from ...server.base import Base
from ..shared import controls

__all__ = ["ask", "fully", "seeds", "waits"]


def ask(base: Base) -> None:
    """Ask once, for all blocks: whether the slow ones are measured, and with how many seeds."""
    if controls.wanted(base.facts, "Measure the slow blocks too", "everything", HELP["everything"]):
        controls.seeds_wanted(SHAMS, MANY)


def fully(base: Base) -> bool:
    """Return whether everything is to be measured."""
    return not base.facts.slow or st.session_state.get("everything") is True


def waits() -> None:
    """Say in a block why it is not there."""
    st.caption("On a model of this size it takes minutes: turn on “Measure the slow blocks too” above.")


def seeds(few: int) -> int:
    """Return how many seeds of a control are measured, where a look takes a few."""
    return MANY if st.session_state.get("seeds") == SEEDS[1] else few
