"""Concept: one concept from every side; each block stands alone and says what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from engram_core.errors import EngramError

from ...choice.choice import Choice
from ...compute import one_concept
from ...figures.words.as_text import filled, plain
from ...figures.words.concept import about
from ...page import frame, progress
from ...server.base import Base
from ...session import state
from ...session.selection import KEY, selected_concept
from ..live import export
from ..shared import controls
from ..shared.to_live import send_to_live
from . import against, asked, damage, flips, layers, nearest, strength

__all__ = ["page"]

PAGE = "concept"

# Side by side, two and two: what the concept's erasing does, and what the concept is.
_PAIRS: tuple[tuple[Callable[[Base, Choice, str], None], ...], ...] = (
    (damage.draw, nearest.draw),
    (against.draw, strength.draw),
    (layers.draw, flips.draw),
)


def page(base: Base) -> None:
    """Draw the page of one concept for a model."""
    frame.title("One concept, from every side", "", page=PAGE)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        name = _choose(base)
    with right:
        controls.folded(base.facts)
    asked.ask(base)
    edit = one_concept.erasing(state.erasing_of(base.facts), name)
    _head(base, edit, name)
    # Places first, work later: what is quick is drawn before what is slow, and nothing changes its place.
    work = []
    for number, pair in enumerate(_PAIRS):
        with st.container(key=f"side_by_side_{number}"):
            columns = st.columns(2, gap="large")
        work += list(zip(columns, pair, strict=True))
    last = st.container()
    for place, draw in work:
        with place, _alone():
            draw(base, edit, name)
    with last, _alone():
        export.draw(base, edit)


@contextmanager
def _alone() -> Iterator[None]:
    """Let a block stand alone: what it cannot do, or was stopped at, leaves the others as they are."""
    try:
        yield
    except progress.Stopped:
        pass  # it says so where the work stood
    except EngramError as error:
        st.warning(plain(error))


def _choose(base: Base) -> str:
    """Choose the concept, which is the selected one on every page."""
    classes = base.facts.classes
    start = next(iter(state.erasing_of(base.facts).concepts), classes[0])
    controls.ready(KEY, classes, start)
    st.selectbox(
        "Concept", classes, key=KEY, persist_state="session", placeholder="Type to search",
        help="It is highlighted on every page, until another one is selected.",
    )  # fmt: skip
    return selected_concept() or start


def _head(base: Base, edit: Choice, name: str) -> None:
    """Say what the concept is, and lead to Live."""
    facts = base.facts
    words = about(
        name,
        facts.held_out[name],
        base.probe,
        base.scores[name],
        base.sample.task.unit,
        base.atlas.counts[name],
    )
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(plain(words), width="content")
        pressed = st.button(
            filled("Erase {} in Live", name), key="to_live", icon=":material/bolt:", type="primary"
        )
    if pressed:
        shown = {"about": name} if base.is_text else {"class": name, "image": 1, "drawn": ""}
        send_to_live(edit, **shown)
