"""The scenes of one visitor: those that come with the explorer, until the visitor makes others."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs

import streamlit as st

from ..choice.address import to_query
from ..choice.scenes import BUNDLED, LONGEST_SENTENCE, MOST, Scene, is_shown
from . import arrival, state

__all__ = [
    "add_scene", "all_scenes", "move_scene", "own_scenes", "place_in", "put_scenes", "remove_scene",
    "shown_in", "step_scene", "to_scene",
]  # fmt: skip

_SCENES = "_scenes"
_AT = "_scene"  # the last one that was opened


def all_scenes() -> tuple[Scene, ...]:
    """Return the visitor's scenes in their order."""
    found: tuple[Scene, ...] = st.session_state.get(_SCENES, BUNDLED)
    return found


def own_scenes() -> tuple[Scene, ...] | None:
    """Return the visitor's scenes if they are not those that come with the explorer."""
    return None if all_scenes() == BUNDLED else all_scenes()


def put_scenes(scenes: Sequence[Scene] | None) -> None:
    """Set the visitor's scenes; None: those that come with the explorer."""
    st.session_state.pop(_AT, None)
    st.session_state[_SCENES] = BUNDLED if scenes is None else tuple(scenes[:MOST])


def _now() -> dict[str, list[str]]:
    return parse_qs(to_query(state.values()), keep_blank_values=True)


def shown_in(page: str) -> int | None:
    """Return the number of the scene that is shown, from 0; None between two."""
    now, scenes = _now(), all_scenes()
    here = [place for place, scene in enumerate(scenes) if is_shown(scene, page, now)]
    last = st.session_state.get(_AT)
    # The same view may stand there twice, as before and after.
    return last if last in here else next(iter(here), None)


def place_in(page: str) -> int | None:
    """Return the number of the scene that is shown or was shown last; None before the first."""
    shown = shown_in(page)
    if shown is not None:
        return shown
    last = st.session_state.get(_AT)
    return last if isinstance(last, int) and last < len(all_scenes()) else None


def to_scene(place: int) -> None:
    """Open a scene; call it in a callback."""
    scene = all_scenes()[place]
    st.session_state[_AT] = place
    address = {"model": [state.models()[0]]} | scene.address
    if st.session_state.get("present") is True:
        address["present"] = ["true"]
    arrival.open_next(scene.page, address)


def step_scene(page: str, by: int) -> None:
    """Open the scene before or after; call it in a callback."""
    count, place = len(all_scenes()), place_in(page)
    if count:
        to_scene((0 if by > 0 else count - 1) if place is None else (place + by) % count)


def add_scene(sentence: str, page: str) -> None:
    """Add what is shown as the last scene."""
    scenes = all_scenes()
    if len(scenes) < MOST and sentence.strip():
        named = {"model": [state.model()]} | _now()
        st.session_state[_SCENES] = (*scenes, Scene.of(sentence[:LONGEST_SENTENCE], page, named))
        st.session_state[_AT] = len(scenes)


def move_scene(place: int, by: int) -> None:
    """Exchange a scene with the one before or after it."""
    scenes = list(all_scenes())
    other = place + by
    if 0 <= other < len(scenes):
        scenes[place], scenes[other] = scenes[other], scenes[place]
        st.session_state[_SCENES] = tuple(scenes)
        at = st.session_state.get(_AT)
        st.session_state[_AT] = other if at == place else place if at == other else at


def remove_scene(place: int) -> None:
    """Take a scene out of the list."""
    scenes = list(all_scenes())
    del scenes[place]
    put_scenes(scenes)
