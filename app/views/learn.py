"""Learn: the guided tour with its table of contents, exercises, a glossary, and the mathematics."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ..page import frame
from .tour import exercises, place
from .tour.card import card
from .tour.end import end
from .tour.glossary import GLOSSARY, MATHEMATICS
from .tour.lessons import LESSONS

__all__ = ["page"]


def page() -> None:
    """Draw the page: a step of the tour, its end, or the table of contents."""
    frame.title("Guided tour", "", page="learn")
    at = place.lesson_at()
    if at == place.END:
        end()
    elif at:
        card(at)
        _glossary()
    else:
        _contents()


def _contents() -> None:
    st.markdown(
        f"{len(LESSONS)} steps, each with one worked example. You predict, then the model answers: "
        "nothing is prepared, all of it is computed when you ask. It takes about twenty minutes."
    )
    marks = place.predicted()
    begun = [number for number, mark in enumerate(marks, 1) if mark is not None]
    with st.container(horizontal=True):
        if begun and st.button("Go on", type="primary", key="tour_go_on"):
            place.go_to(max(begun) + 1)
        label = "Start again" if begun else "Start the tour"
        if st.button(label, type="secondary" if begun else "primary", key="tour_start"):
            place.go_to(1, afresh=True)
    st.markdown("##### The steps")
    for number, (lesson, mark) in enumerate(zip(LESSONS, marks, strict=True), 1):
        with st.container(horizontal=True, vertical_alignment="center", key=f"step_row_{number}"):
            if st.button(str(number), key=f"tour_{number}", help=f"Open step {number}"):
                place.go_to(number)
            done = "" if mark is None else " :material/check_circle:"
            st.markdown(f"**{lesson.title}**{done}", width="stretch")
    with st.expander("For a lecture"):
        st.markdown(
            "Turn on presenter mode in the side bar: large type, controls folded away. Let the room vote on "
            "each prediction before you press “Show what happens”. Every step has an address of its own "
            "(Share), so a slide can link to it. Steps 2 to 6 alone, the four criteria and the control, make "
            "ten minutes."
        )
        exercises.offer()
    _glossary()
    with st.expander("The mathematics"):
        st.markdown(MATHEMATICS)


def _glossary() -> None:
    with st.expander("Glossary"):
        st.table(pd.DataFrame(GLOSSARY, columns=["Word", "Meaning"]).set_index("Word"))
