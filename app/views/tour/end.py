"""After the last step: how many predictions were right, what to take home, and exercises."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from ...compute.experiments import EXPERIMENTS
from ...figures.words.as_text import Markdown, plain
from ...figures.words.tour import bold_score
from ...page import progress
from ...session import arrival, visitors
from . import exercises
from .lessons import LESSONS, TAKE_HOME, Lesson
from .place import go_to, predicted

__all__ = ["end"]


def _right(lesson: Lesson) -> int:
    """Return the place of the right option; what a step has measured is remembered and costs nothing."""
    experiment = EXPERIMENTS[lesson.experiment]
    base: Any = visitors.base_of(experiment.model) if experiment.model else None
    asked = progress.run(experiment.asked(base), key=lesson.experiment)
    return lesson.right(pd.concat([experiment.given(base), asked], ignore_index=True))


def end() -> None:
    """Draw the end of the tour."""
    marks = predicted()
    results: list[tuple[int, Lesson, int, int]] = []
    try:
        for number, (lesson, mark) in enumerate(zip(LESSONS, marks, strict=True), 1):
            if isinstance(mark, int):
                results.append((number, lesson, mark, _right(lesson)))
    except EngramError as error:
        st.warning(plain(error))
    right = sum(mark == answer for *_, mark, answer in results)
    said = bold_score(right, len(results)) if results else "You have not predicted anything yet."
    st.markdown(f"##### {said}")
    if results and len(results) < len(LESSONS):
        st.caption(f"{len(LESSONS) - len(results)} of {len(LESSONS)} steps were left out.")
    st.markdown("**What to take home**")
    st.markdown("\n".join(f"- {point}" for point in TAKE_HOME))
    with st.container(horizontal=True):
        if st.button("Start again", key="tour_again", help="Takes all predictions back."):
            go_to(1, afresh=True)
        if st.button("All steps", key="tour_end", type="tertiary", icon=":material/list:"):
            go_to(0)
        if st.button("Open Live", key="tour_live", type="tertiary", icon=":material/open_in_new:"):
            arrival.go("live")
    if results:
        with st.expander("Your predictions", expanded=True):
            for number, lesson, mark, answer in results:
                st.markdown(_line(number, lesson, mark, answer))
    exercises.offer()


def _line(number: int, lesson: Lesson, mark: int, answer: int) -> Markdown:
    if mark == answer:
        return f":material/check: **{number}. {lesson.short}.** {lesson.options[answer]}."
    return (
        f":material/lightbulb: **{number}. {lesson.short}.** You predicted: {lesson.options[mark]}. "
        f"It is: {lesson.options[answer]}."
    )
