"""The live page for tables, and for inputs that cannot be drawn: a held-out input, or one's own values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...choice.choice import Choice, clean
from ...choice.picture import Picture, clean_picture, values_of, values_text
from ...compute.edited_view import Proof, Visitor
from ...compute.images import Answer, answer
from ...compute.inputs import Reach, answers_in_classes, one_input, reaches, row_of
from ...figures.panels.hero import hero
from ...figures.words.as_text import Markdown, plain
from ...figures.words.live import HOW, say_answer
from ...figures.words.values import say_moved_values
from ...page import parts
from ...page.snippets import answer_code
from ...server.base import Base
from ...session import state
from ..shared import controls
from . import class_answer
from .places import Places
from .proof import status

__all__ = ["INPUT", "TITLE", "ask", "example", "inputs", "more", "outputs", "stage"]

TITLE = "Erase a concept and watch the answer change"
INPUT: Markdown = "Input"  # what its inputs are called, for a button

_SHOWN = "_values_shown"  # of which input the sliders show the values
_MANY = 8  # concepts that stand beside each other as pills


def ask(base: Base) -> None:
    """Draw nothing above the answers: the values stand below them."""


def stage(base: Base) -> DeltaGenerator:
    """Return the place of both answers to a row of values."""
    return st.container(key="stage_panel")


def inputs(base: Base) -> None:
    """Choose a held-out input, and move its values where it is a row of a table."""
    facts = base.facts
    st.markdown("##### Input")
    state.tidy("class", facts.classes)
    state.tidy("image", low=1, high=facts.held_out[state.picture_of(base).concept])
    controls.ready("class", facts.classes, facts.classes[0])
    st.session_state.setdefault("image", 1)
    choose: Any = st.pills if len(facts.classes) <= _MANY else st.selectbox
    options = {"required": True, "wrap": True} if len(facts.classes) <= _MANY else {}
    choose(
        "Held-out input of", facts.classes, format_func=plain if options else str, key="class",
        persist_state="session", on_change=state.new_image, **options,
    )  # fmt: skip
    count = facts.held_out[state.picture_of(base).concept]
    number, button = st.columns([1, 1], vertical_alignment="bottom")
    with number:
        st.number_input(
            f"Number (1 to {count:d})",
            1,
            count,
            key="image",
            persist_state="session",
            on_change=_no_own_values,
        )
    with button:
        st.button("Random input", on_click=state.random_image, args=(facts,), width="stretch")
    if facts.features:
        _sliders(base)


def _no_own_values() -> None:
    st.session_state["drawn"] = ""


def _key(number: int) -> str:
    return f"_value_{number}"


def _sliders(base: Base) -> None:
    """Draw a slider for each feature; together they hold the values that the address names."""
    picture, reach = state.picture_of(base), reaches(base)
    held = Picture(picture.concept, picture.number)
    values = row_of(base, picture)
    shown = (base.facts.name, picture)
    if st.session_state.get(_SHOWN) != shown:
        st.session_state[_SHOWN] = shown
        for number, value in enumerate(values):
            st.session_state[_key(number)] = float(value)
    original = row_of(base, held)
    with st.container(key="value_sliders"):
        for number, (name, one) in enumerate(zip(base.facts.features, reach, strict=True)):
            if number % 2 == 0:
                # A row of two each: below one another, as on a phone, they keep their order.
                sides = st.columns(2, gap="medium")
            with sides[number % 2]:
                _slider(number, name, one, original[number])
    st.button(
        "Back to the held-out values", on_click=_no_own_values, disabled=not picture.drawn, width="stretch",
        key="values_back", icon=":material/undo:",
    )  # fmt: skip


def _slider(number: int, name: str, reach: Reach, original: float) -> None:
    value = float(st.session_state.get(_key(number), original))
    st.session_state[_key(number)] = value
    st.slider(
        plain(name),
        min(reach.low, value),
        max(reach.high, value),
        step=reach.step,
        format="%.4g",
        key=_key(number),
        on_change=_moved,
        args=(number,),
        help=plain(f"Here {original:.4g}; in the data from {reach.low:.4g} to {reach.high:.4g}."),
    )


def _moved(number: int) -> None:
    name, picture = st.session_state[_SHOWN]
    values: list[float] = []
    while _key(len(values)) in st.session_state:
        values.append(float(st.session_state[_key(len(values))]))
    text = values_text(values)
    st.session_state["drawn"] = text
    st.session_state[_SHOWN] = (name, Picture(picture.concept, picture.number, text))


def outputs(base: Base, visitor: Visitor, choice: Choice, proof: Proof, places: Places) -> None:
    """Draw what both models say to a row of values."""
    if not answers_in_classes(base):
        with places.panel:
            st.info(
                "This model's outputs are scored by a task of its own, so there is no answer to a single "
                "input here. The scores of all concepts stand below."
            )
        return
    picture = state.picture_of(base)
    said = answer(base, visitor, picture)
    panel = _panel(base, choice, proof, picture, said)
    with places.panel:
        st.html(panel.html)
    class_answer.draw(
        base,
        choice,
        said,
        panel,
        places,
        both="The input and both answers",
        classes="This input, class by class",
    )


def _about(base: Base, picture: Picture) -> str:
    at = f"held-out input {picture.number} of {base.facts.held_out[picture.concept]}"
    if not picture.drawn:
        return at
    original = row_of(base, Picture(picture.concept, picture.number))
    values: Sequence[float] = values_of(picture.drawn, len(original)) or ()
    # An address has five digits of each value: what differs less was not moved.
    exact = values_of(values_text(original), len(original)) or ()
    moved = [
        (name, before, after)
        for name, before, after in zip(base.facts.features, exact, values, strict=True)
        if before != after
    ]
    return say_moved_values(f"{picture.concept}, {at}", moved)


def _panel(base: Base, choice: Choice, proof: Proof, picture: Picture, said: Answer) -> parts.Panel:
    shown = hero(
        None,
        said.classes,
        said.base,
        said.edited,
        truth=said.truth,
        about=_about(base, picture),
        **status(base, choice, proof),
    )
    numbers = pd.DataFrame(
        {
            "class": said.classes,
            "true class": [name == said.truth for name in said.classes],
            "base probability": said.base,
            "edited probability": said.edited,
        }
    )
    words = say_answer(said.classes, said.base, said.edited, said.truth)
    read = one_input(base, picture)[0].tolist() if picture.drawn else None
    return parts.Panel(shown, words, numbers, answer_code(picture, None, read))


def example(base: Base, visitor: Visitor, values: Mapping[str, Any]) -> tuple[parts.Part, parts.Panel]:
    """Return the panel of an example and what it is called: one input before and after."""
    choice = clean({"concepts": values["concepts"]} | dict(values), base.facts)
    picture = clean_picture(values, base.facts, None)
    proof = visitor.put(choice)
    part = parts.Part("start", "The example: one input, both answers", HOW["panel"], base, choice)
    if not answers_in_classes(base):
        return part, parts.Panel("", "This model gives no answer to a single input.", pd.DataFrame(), "")
    return part, _panel(base, choice, proof, picture, answer(base, visitor, picture))


def more(base: Base, visitor: Visitor, choice: Choice) -> None:
    """Draw nothing more: the answer and the scores are all there is to an input."""
