"""The live page for images: a gallery or a drawing, and the answer of both models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...choice.choice import Choice, clean
from ...choice.picture import DRAWABLE, Picture, clean_picture
from ...compute.edited_view import Proof, Visitor
from ...compute.images import Answer, answer, pixels
from ...figures.panels.hero import hero
from ...figures.panels.png import data_uri
from ...figures.words.as_text import Markdown, filled, plain
from ...figures.words.live import HOW, say_answer
from ...page import parts
from ...page.snippets import answer_code
from ...server.base import Base
from ...session import state
from ..shared import controls
from . import class_answer
from .drawing import HINT, canvas
from .places import Places
from .proof import status

__all__ = ["INPUT", "TITLE", "ask", "example", "inputs", "more", "outputs", "stage"]

TITLE = "Erase a concept and watch the answer change"
INPUT: Markdown = "Image"  # what its inputs are called, for a button

_PAGE = 20  # thumbnails at once
_GALLERY, _DRAW = "Held-out image", "Draw a digit"
_KNOWN = "_known_drawing"  # the drawing that this page has last shown or taken
_CANVAS = "_canvas"  # how often a drawing has come from elsewhere


def ask(base: Base) -> None:
    """Draw nothing above the answers: an image is a part of them."""


def stage(base: Base) -> DeltaGenerator:
    """Return the place of both answers; who draws has the canvas beside them."""
    if not state.picture_of(base).drawn:
        st.session_state["drawn"] = ""  # what is no drawing must not be drawn
    if base.sample.image_shape == DRAWABLE:
        _follow(st.session_state.get("drawn", ""))
        if st.session_state["source"] == _DRAW:
            with st.container(key="draw_stage"):
                left, right = st.columns([3, 8], vertical_alignment="center")
            with left:
                _drawing()
            return right.container(key="stage_panel")
    return st.container(key="stage_panel")


def inputs(base: Base) -> None:
    """Choose a held-out image, or to draw one where the images are small enough."""
    st.markdown("##### Image")
    source: str | None = _GALLERY
    if base.sample.image_shape == DRAWABLE:
        source = st.segmented_control(
            "Where the image comes from",
            (_GALLERY, _DRAW),
            key="source",
            required=True,
            label_visibility="collapsed",
            on_change=_source_changed,
            wrap=True,
        )
    if source == _DRAW:
        st.caption(HINT)
    else:
        _gallery(base)


def _follow(drawn: str) -> None:
    """Show gallery or canvas as a drawing has come or gone by link, tour, history or another page.

    Setting the drawing is all that those have to do: the switch above it keeps no choice of its own.
    """
    if st.session_state.get(_KNOWN) != drawn:
        st.session_state["source"] = _DRAW if drawn else _GALLERY
        st.session_state[_CANVAS] = st.session_state.get(_CANVAS, 0) + 1
    st.session_state.setdefault("source", _DRAW if drawn else _GALLERY)
    st.session_state[_KNOWN] = drawn


def _source_changed() -> None:
    st.session_state["drawn"] = st.session_state[_KNOWN] = ""


def _drawing() -> None:
    drawn = canvas(st.session_state.get("drawn", ""), key=f"canvas_{st.session_state[_CANVAS]}")
    if drawn != st.session_state.get("drawn", ""):
        st.session_state["drawn"] = st.session_state[_KNOWN] = drawn
        st.rerun()  # the link in the menu above was made before the canvas spoke


def _gallery(base: Base) -> None:
    facts = base.facts
    state.tidy("class", facts.classes)
    state.tidy("image", low=1, high=facts.held_out[state.picture_of(base).concept])
    controls.ready("class", facts.classes, facts.classes[0])
    st.session_state.setdefault("image", 1)
    st.pills(
        "Class of the image",
        facts.classes,
        format_func=plain,
        key="class",
        persist_state="session",
        required=True,
        on_change=state.new_image,
        label_visibility="collapsed",
        wrap=True,
    )
    thumbnails = st.container(key="thumbnails")
    number, button = st.columns([1, 1], vertical_alignment="bottom")
    count = facts.held_out[state.picture_of(base).concept]
    with number:
        st.number_input(f"Image number (1 to {count:d})", 1, count, key="image", persist_state="session")
    with button:
        st.button("Random image", on_click=state.random_image, args=(facts,), width="stretch")
    # Drawn above but called last: the number, which is what the address holds, must be known first.
    with thumbnails:
        _thumbnails(base, state.picture_of(base))


def _thumbnails(base: Base, picture: Picture) -> None:
    first = (picture.number - 1) // _PAGE * _PAGE
    last = min(first + _PAGE, base.facts.held_out[picture.concept])
    # They follow the number and never keep a choice of their own.
    st.session_state["picture"] = picture.number

    def label(n: int) -> Markdown:
        about = filled("{}, image {}", picture.concept, n)
        return f"![{about}]({data_uri(pixels(base, Picture(picture.concept, n)))})"

    st.pills(
        plain(f"Held-out images of {picture.concept}"),
        range(first + 1, last + 1),
        format_func=label,
        key="picture",
        required=True,
        on_change=_picked,
        label_visibility="collapsed",
        wrap=True,
    )


def _picked() -> None:
    state.new_image(st.session_state["picture"])


def _offer(choice: Choice, picture: Picture) -> None:
    """Offer an image of what is switched off, where the one on the screen is of something else."""
    if choice.keeps or picture.drawn or not choice.concepts or picture.concept in choice.concepts:
        return
    name = choice.concepts[-1]
    with st.container(horizontal=True, vertical_alignment="center", key="offer_row"):
        st.markdown(
            filled("The image is of **{}**; what is erased is **{}**.", picture.concept, name),
            width="content",
        )
        st.button(
            filled("Show an image of {}", name), key="show_erased", icon=":material/image_search:",
            on_click=_show, args=(name,),
        )  # fmt: skip


def _show(name: str) -> None:
    st.session_state["class"] = name
    state.new_image()


def outputs(base: Base, visitor: Visitor, choice: Choice, proof: Proof, places: Places) -> None:
    """Draw what both models say to a picture."""
    picture = state.picture_of(base)
    said = answer(base, visitor, picture)
    panel = _panel(base, choice, proof, picture, said)
    with places.panel:
        st.html(panel.html)
        _offer(choice, picture)
    class_answer.draw(
        base,
        choice,
        said,
        panel,
        places,
        both="The image and both answers",
        classes="This image, class by class",
    )


def _panel(base: Base, choice: Choice, proof: Proof, picture: Picture, said: Answer) -> parts.Panel:
    about = (
        "your drawing"
        if picture.drawn
        else f"held-out image {picture.number} of {base.facts.held_out[picture.concept]}"
    )
    shown = hero(
        said.pixels,
        said.classes,
        said.base,
        said.edited,
        truth=said.truth,
        about=about,
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
    return parts.Panel(shown, words, numbers, answer_code(picture, base.sample.value_range))


def example(base: Base, visitor: Visitor, values: Mapping[str, Any]) -> tuple[parts.Part, parts.Panel]:
    """Return the panel of an example and what it is called: one image before and after."""
    choice = clean({"concepts": values["concepts"]} | dict(values), base.facts)
    picture = clean_picture(values, base.facts, base.sample.image_shape)
    proof = visitor.put(choice)
    part = parts.Part("start", "The example: one image, both answers", HOW["panel"], base, choice)
    return part, _panel(base, choice, proof, picture, answer(base, visitor, picture))


def more(base: Base, visitor: Visitor, choice: Choice) -> None:
    """Draw nothing more: the answer and the scores are all there is to an image."""
