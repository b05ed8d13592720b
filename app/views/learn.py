"""Learn: the tour's table of contents, a glossary, and the mathematics one level down."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ..page import frame
from .tour import card as tour
from .tour.glossary import GLOSSARY, MATHEMATICS
from .tour.lessons import LESSONS

__all__ = ["page"]


def page() -> None:
    """Draw the page."""
    frame.title("Guided tour", "", page="learn")
    st.markdown(
        "Nine steps on the real pages, one idea each. Every step asks for a prediction before it shows what "
        "happens; nothing is prepared: the models compute it when you ask."
    )
    if st.button("Start the tour", type="primary", key="tour_start"):
        tour.go_to(1)
    st.markdown("##### The steps")
    for number, lesson in enumerate(LESSONS, 1):
        with st.container(horizontal=True, vertical_alignment="center", key=f"step_row_{number}"):
            if st.button(str(number), key=f"tour_{number}", help=f"Open step {number}"):
                tour.go_to(number)
            end = "" if lesson.title.endswith("?") else "."
            st.markdown(f"**{lesson.title}{end}** {lesson.question}", width="stretch")
    with st.expander("For a lecture"):
        st.markdown(
            "Turn on presenter mode in the side bar: large type, controls folded away. Let the room vote on "
            "each prediction before you press “Show what happens”. Every step has an address of its own "
            "(Share), so a slide can link to it. The tour takes about twenty minutes; steps 3, 4 and 9 alone "
            "make five."
        )
    with st.expander("Glossary"):
        st.table(pd.DataFrame(GLOSSARY, columns=["Word", "Meaning"]).set_index("Word"))
    with st.expander("The mathematics"):
        st.markdown(MATHEMATICS)
