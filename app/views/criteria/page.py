"""Criteria: specificity, reactivation, sufficiency, necessity; their controls, and the inputs behind."""

from __future__ import annotations

import streamlit as st

from engram_core.errors import EngramError

from ...choice.choice import Choice
from ...compute import criteria as measures
from ...compute.criteria import Selection
from ...figures.words.as_text import plain
from ...figures.words.criteria import ASKS, NAMES
from ...page import frame
from ...server.base import Base
from ...session import state
from ...session.selection import selected_concept
from ..shared import controls
from . import function as criteria_function
from . import responses as criteria_responses

__all__ = ["page"]

PAGE = "criteria"


def page(base: Base) -> None:
    """Draw the matrices of the four criteria for a model."""
    frame.title("The four criteria", "", page=PAGE)
    controls.ready("criterion", NAMES, "Necessity")
    criterion = st.segmented_control(
        "Criterion", NAMES, key="criterion", persist_state="session", required=True,
        label_visibility="collapsed", wrap=True,
    )  # fmt: skip
    criterion = criterion if criterion in NAMES else "Necessity"
    top, side = st.columns([3, 2], vertical_alignment="center")
    with side:
        controls.folded(base.facts)
        choice = state.erasing_of(base.facts)
    chosen = measures.selection(base.facts, choice.concepts)
    picked = selected_concept()
    if picked and picked not in chosen.edited:
        # Beside those of the edit: what is selected is to be seen. One that is there stays where it is.
        chosen = measures.selection(base.facts, (*choice.concepts, picked))
    with top:
        st.markdown(f"**{ASKS[criterion]}**")
    st.caption(plain(_selected(base, chosen, choice, criterion)))
    try:
        of = criteria_responses if criterion in ("Specificity", "Reactivation") else criteria_function
        of.draw(base, choice, chosen, criterion)
    except EngramError as error:
        st.warning(plain(error))


def _selected(base: Base, chosen: Selection, choice: Choice, criterion: str) -> str:
    if chosen.every:
        text = f"All {len(chosen.edited)} concepts, each alone."
    else:
        text = (
            f"{len(chosen.edited)} of {len(base.facts.classes)} concepts as columns, each alone: those "
            f"chosen under "
            f"“Current edit” first, then drawn at random (seed 0); as rows the same and "
            f"{len(chosen.probed) - len(chosen.edited)} more. Choose others under “Current edit”."
        )
    if criterion == "Necessity":
        text += f" {_strengths(chosen, choice)}, {choice.scaling} scaling."
    else:
        text += " At strength 1."
    if choice.power != 1 or choice.clip:
        text += f" Selectivity: μ^{choice.power:g}{', capped at 1×' if choice.clip else ''}."
    return text.replace(" -", " −")


def _strengths(chosen: Selection, choice: Choice) -> str:
    """Say at which strength each concept is erased; those with one of their own are named."""
    single = {name: value for name, value in choice.single_strengths if name in chosen.edited}
    if not single or set(single.values()) == {choice.strength}:
        return f"Strength {choice.strength:g}"
    few = [f"{value:g} for {name}" for name, value in list(single.items())[:6]]
    more = f" and {len(single) - 6} more of their own" if len(single) > 6 else ""
    rest = f", {choice.strength:g} for the others" if len(single) < len(chosen.edited) else ""
    return f"Strengths {', '.join(few)}{more}{rest}"
