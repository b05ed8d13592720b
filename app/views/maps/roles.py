"""What a map says of an edit: who is erased, who its neighbours are; and whose points are ringed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from ...choice.choice import Choice
from ...compute import maps
from ...figures.charts.clicks import picked_points
from ...figures.charts.palette import BASE, EDITED, ERASED
from ...figures.words.maps import NEIGHBOURS
from ...page import progress
from ...server.base import Base
from ...session import state
from ...session.selection import KEY, select_concept
from ..shared import controls

__all__ = ["ROLES", "Roles", "find", "follow_colour", "named", "pick", "picked_of", "roles_of"]

ROLES = "Erased and neighbours"
"""What the colours show; it stands in the address."""

_FOLLOWED = "_colour_followed"
_PICKED = "_map_picked"  # the concept of each point of the map, and which points were picked last
_FEW = 24  # concepts whose names all have room on a map


@dataclass(frozen=True)
class Roles:
    """The part that each concept has in an edit.

    Attributes:
        of: the part of each concept of the map.
        neighbours: those whose engrams lie nearest to an erased one.
    """

    of: dict[str, str]
    neighbours: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """The parts, the rest first: what is drawn last lies on top."""
        return tuple(part for part in _MARKS if part in self.of.values())

    @property
    def marks(self) -> dict[str, tuple[str, str]]:
        """Colour and symbol of each part."""
        return {part: _MARKS[part] for part in self.order}


_REST, _NEAR, _GONE, _KEPT = "the rest", "neighbours", "erased", "kept"
_MARKS = {
    _REST: (BASE, "circle"), _NEAR: (EDITED, "square"),
    _KEPT: (EDITED, "diamond"), _GONE: (ERASED, "diamond"),
}  # fmt: skip


def follow_colour(options: Sequence[str], start: str, key: str) -> None:
    """Let what the colours show follow the edit, until the visitor chooses something else.

    Args:
        options: what they can show.
        start: what they show unless something else is chosen.
        key: key of the widget.
    """
    place = f"{_FOLLOWED} {key}"
    if st.session_state.get(key) in (None, st.session_state.get(place)):
        st.session_state[key] = start
    st.session_state[place] = start
    controls.ready(key, options, start)


def find(base: Base) -> None:
    """Draw the field that finds a concept on the map: it is selected, and its points are ringed."""
    state.tidy(KEY, base.facts.classes)
    st.selectbox(
        "Find a concept", base.facts.classes, key=KEY, persist_state="session", index=None, width=190,
        placeholder="Type a name", help="It is selected: ringed here, and highlighted on every page.",
    )  # fmt: skip


def roles_of(base: Base, choice: Choice, names: tuple[str, ...]) -> Roles:
    """Return the part of each concept of a map; the neighbours are compared when it is asked for.

    Args:
        base: the model.
        choice: the edit.
        names: the concepts on the map.
    """
    if choice.keeps:
        return Roles({name: _KEPT if name in choice.concepts else _REST for name in names}, ())
    gone = tuple(name for name in choice.gone(base.facts.classes) if name in names)
    near: tuple[str, ...] = ()
    if gone and len(gone) < len(names):
        cosines = progress.run(maps.compare_engrams(base, names, ""), key="neighbours")
        near = maps.neighbours(cosines, gone, NEIGHBOURS)
    parts = dict.fromkeys(names, _REST) | dict.fromkeys(near, _NEAR) | dict.fromkeys(gone, _GONE)
    return Roles(parts, near)


def named(names: Sequence[str], roles: Roles | None, selected: str) -> tuple[str, ...]:
    """Return the concepts that have their name on the map: all of a few, or those that matter."""
    if len(names) <= _FEW:
        return tuple(names)
    parts = {} if roles is None else roles.of
    return tuple(name for name in names if parts.get(name, _REST) != _REST or name == selected)


def picked_of(event: Any, concepts: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the points that were picked last on a map.

    A widget's own selection ends when its figure changes, as the ring around a selected point changes it.

    Args:
        event: what the map's widget returned.
        concepts: the concept of each point; what was picked among other points counts no more.
    """
    now = picked_points(event)
    if now:
        st.session_state[_PICKED] = (tuple(concepts), now)
    of, points = st.session_state.get(_PICKED, ((), ()))
    return tuple(i for i in points if i < len(concepts)) if of == tuple(concepts) else ()


def pick(key: str, concepts: Sequence[str]) -> None:
    """Select the concept of a point that was clicked; many at once select nothing.

    Args:
        key: key of the map's widget.
        concepts: the concept of each point.
    """
    picked = picked_points(st.session_state.get(key))
    st.session_state[_PICKED] = (tuple(concepts), picked)
    if len(picked) == 1 and picked[0] < len(concepts):
        select_concept(concepts[picked[0]])
