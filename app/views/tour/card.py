"""One step of the tour: idea and question, beside a figure that is veiled until there is a prediction."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from ...choice.picture import Picture
from ...compute.experiments import EXPERIMENTS
from ...compute.images import pixels
from ...figures.charts.lesson_figures import LESSON_FIGURES
from ...figures.panels.png import data_uri
from ...figures.words.as_text import Markdown, plain
from ...page import headings, parts, progress
from ...server.base import Base
from ...session import arrival, visitors
from . import toy_stage
from .lessons import LESSONS, Lesson
from .place import SHOWN, go_to, note, predicted

__all__ = ["card"]


def card(number: int) -> None:
    """Draw a step of the tour.

    Args:
        number: of the step, from 1.
    """
    lesson = LESSONS[number - 1]
    mark = predicted()[number - 1]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"##### Step {number} of {len(LESSONS)}. {lesson.title}", width="content")
        if st.button("All steps", type="tertiary", key="tour_end", icon=":material/list:"):
            go_to(0)
    with st.container(key="side_by_side"):
        left, right = st.columns([5, 6], gap="large")
        with left:
            st.markdown(lesson.idea)
            answer = _asked(number, lesson, mark)
        with right:
            table = _experiment(lesson, opened=mark is not None)
    if table is not None and mark is not None:
        with answer:
            _answer(lesson, mark, table)


def _asked(number: int, lesson: Lesson, mark: int | str | None) -> Any:
    """Draw the question and the buttons below it; return the place of the answer between them."""
    with st.container(border=True, key="tour"):
        st.markdown(f"**Your prediction.** {lesson.question}")
        place: Any = st.container()
        guess = None
        if mark is None:
            guess = st.radio(
                lesson.question, lesson.options, index=None, key=f"_guess_{number}",
                label_visibility="collapsed",
            )  # fmt: skip
        _move(number, lesson, mark, guess)
    return place


def _move(number: int, lesson: Lesson, mark: int | str | None, guess: str | None) -> None:
    """Draw one row of buttons: what comes next stands first."""
    last = number == len(LESSONS)
    with st.container(horizontal=True):
        if mark is None and st.button(
            "Show what happens", type="primary", key="tour_reveal", disabled=guess is None,
            help="Choose a prediction first." if guess is None else None,
        ):  # fmt: skip
            note(number, SHOWN if guess is None else lesson.options.index(guess))
            go_to(number, **toy_stage.AFTER)
        kind: Any = "secondary" if mark is None else "primary"
        label: Markdown = "To the end" if last else "Next step" if mark is not None else "Skip"
        if st.button(label, key="tour_next", type=kind):
            go_to(number + 1)
        if number > 1 and st.button("Back", key="tour_back", type="tertiary"):
            go_to(number - 1)
        if mark is not None and st.button(
            "Try it by hand", key="tour_try", type="tertiary", icon=":material/open_in_new:",
            help="Opens the page on which the same can be done; the tour waits under Learn.",
        ):  # fmt: skip
            arrival.go(lesson.page, **lesson.values)


def _answer(lesson: Lesson, mark: int | str, table: pd.DataFrame) -> None:
    """Say whether the prediction was right, what the numbers are, and why."""
    right = lesson.right(table)
    finding = lesson.finding(table)
    if not isinstance(mark, int):
        st.info(f"**{lesson.options[right]}.** {finding}", icon=":material/visibility:")
    elif mark == right:
        st.success(f"**Right: {_lowered(lesson.options[right])}.** {finding}", icon=":material/check:")
    else:
        st.info(
            f"You predicted: {_lowered(lesson.options[mark])}. **It is: {_lowered(lesson.options[right])}.** "
            f"{finding}",
            icon=":material/lightbulb:",
        )
    st.markdown(lesson.why)


def _lowered(option: Markdown) -> Markdown:
    return option[:1].lower() + option[1:]


def _experiment(lesson: Lesson, *, opened: bool) -> pd.DataFrame | None:
    """Draw the figure; return everything that was measured, or None while the step is veiled."""
    experiment = EXPERIMENTS[lesson.experiment]
    if not experiment.model:
        return toy_stage.draw(lesson, opened=opened)
    try:
        base = visitors.base_of(experiment.model)
        given = experiment.given(base)
        asked = progress.run(experiment.asked(base), key=lesson.experiment) if opened else None
    except EngramError as error:
        st.warning(plain(error))
        return None
    if lesson.picture is not None:
        _picture(base, *lesson.picture)
    chart = LESSON_FIGURES[lesson.experiment](given, asked)
    table = None if asked is None else pd.concat([given, asked], ignore_index=True)
    said = "Veiled until you have predicted." if table is None else lesson.finding(table)
    st.plotly_chart(parts.on_screen(chart), config=parts.CHART, alt=said, key=f"lesson_{lesson.experiment}")
    headings.note(f"{lesson.reading} Model: {experiment.model}.")
    return table


def _picture(base: Base, concept: str, number: int) -> None:
    held = base.facts.held_out[concept]
    st.html(
        f'<figure class="ee-lesson"><img src="{data_uri(pixels(base, Picture(concept, number)))}" '
        f'alt="A held-out picture of a {escape(concept)}">'
        f"<figcaption>Held-out picture {number} of {held}</figcaption></figure>"
    )
