"""The tour's card: it stands above the real page that a step is about, and moves it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from engram_core.progress import drain

from ...compute.scores import score_controls, score_edit
from ...figures.words.as_text import Markdown, plain
from ...figures.words.tour import Measured, say_control
from ...session import arrival, state, visitors
from .lessons import LESSONS, Lesson

__all__ = ["card", "go_to", "step"]

_GUESS = "_guess"


def step() -> int:
    """Return the step the visitor is at, from 1; 0 when not on tour."""
    value = st.session_state.get("step")
    return value if isinstance(value, int) and 1 <= value <= len(LESSONS) else 0


def _shown() -> bool:
    return st.session_state.get("shown") is True


def go_to(number: int, *, shown: bool = False) -> None:
    """Open a step on its page; 0 ends the tour."""
    st.session_state["step"], st.session_state["shown"] = number, shown
    if number == 0:
        arrival.go("learn")
    lesson = LESSONS[number - 1]
    if shown:
        arrival.go(lesson.after_page or lesson.page, **(lesson.after or lesson.before))
    arrival.go(lesson.page, **lesson.before)


def card() -> Callable[[], None]:
    """Draw the card of the present step, if the visitor is on tour.

    Returns:
        What says on the card what the page's figures come to; call it when the page has drawn them.
    """
    number = step()
    if not number:
        return lambda: None
    lesson = LESSONS[number - 1]
    with st.container(border=True, key="tour"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(f"**Step {number} of {len(LESSONS)}: {lesson.title}**", width="content")
            if st.button("Leave the tour", type="tertiary", key="tour_end"):
                go_to(0)
        if _shown():  # the answer below is what counts now, and it should be in sight
            with st.expander(lesson.question):
                st.markdown(lesson.idea)
        else:
            st.markdown(lesson.idea)
        answer = _question(number, lesson)

    def finish() -> None:
        if answer is not None and lesson.finding is not None:
            _answer(answer, number, lesson, _finding(lesson))

    return finish


def _finding(lesson: Lesson) -> Markdown:
    """Say what the scores come to; they are those that the page has just measured, and cost nothing again."""
    base = visitors.base_of(state.model())
    choice = state.choice_of(base.facts)
    if lesson.finding is None or not choice.changes:
        return ""
    scores = drain(score_edit(base, choice))
    runs = drain(score_controls(base, choice)) if lesson.finding is say_control else []
    return lesson.finding(Measured(base.facts.classes, base.scores, scores, choice.concepts, runs))


def _answer(place: Any, number: int, lesson: Lesson, finding: Markdown) -> None:
    guess = st.session_state.get(_GUESS, {}).get(number)
    said = " ".join(part for part in (f"{_said(lesson, guess)}{lesson.reveal}", finding) if part)
    place.success(said, icon=":material/visibility:")


def _question(number: int, lesson: Lesson) -> Any:
    """Draw the question, or the place of its answer, which is returned."""
    kept: dict[int, str] = st.session_state.setdefault(_GUESS, {})
    if _shown():
        guess, place = kept.get(number), st.empty()
        _answer(place, number, lesson, "")
    else:
        place = None
        st.markdown(f"**Your prediction.** {lesson.question}")
        guess = st.radio(
            lesson.question,
            lesson.options,
            index=None,
            key=f"{_GUESS}_{number}",
            horizontal=True,
            label_visibility="collapsed",
        )
    _move(number, guess)
    return place


def _said(lesson: Lesson, guess: str | None) -> Markdown:
    if guess is None:
        return ""
    if lesson.answer is None:
        return f"You said “{plain(guess)}”; the screen decides. "
    right = lesson.options[lesson.answer]
    return (
        "Your prediction was right. " if guess == right else f"You said “{plain(guess)}”; it is “{right}”. "
    )


def _move(number: int, guess: str | None) -> None:
    """Draw one row of buttons: what comes next stands first."""
    last = number == len(LESSONS)
    with st.container(horizontal=True):
        if not _shown() and st.button(
            "Show what happens",
            type="primary",
            key="tour_reveal",
            disabled=guess is None,
            help="Choose a prediction first." if guess is None else None,
        ):
            # The radio forgets it where the answer stands on another page.
            st.session_state[_GUESS][number] = guess
            go_to(number, shown=True)
        kind: Any = "primary" if _shown() else "secondary"
        if st.button("Finish" if last else "Next step", key="tour_next", type=kind):
            go_to(0 if last else number + 1)
        if number > 1 and st.button("Back", key="tour_back", type="tertiary"):
            go_to(number - 1)
