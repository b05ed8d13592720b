"""Criteria: which concepts stand in a matrix, in which order, and what its colours show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from ...choice.choice import one_of
from ...choice.matrix import CELLS, CHANGE, DAMAGE, ORDERS, PLAIN
from ...compute.criteria import Selection
from ...compute.order import ordered
from ...figures.words.as_text import Markdown, plain
from ...figures.words.criteria import HELP
from ...session import state
from ...session.selection import KEY
from ..shared import controls

__all__ = ["Arrangement", "arrange", "find"]

_MOST_LISTED = 24


@dataclass(frozen=True)
class Arrangement:
    """What of a matrix is drawn.

    Attributes:
        rows: probed concepts, from top to bottom.
        columns: edited concepts, from left to right.
        changes: whether the colours show the change and not the score.
        hidden: how many rows are left out because nothing happens to them.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    changes: bool
    hidden: int = 0


def find(names: Sequence[str]) -> None:
    """Draw the field that finds a concept: it becomes the selected one, and is outlined."""
    state.tidy(KEY, list(names))
    st.selectbox(
        "Find a concept", names, key=KEY, persist_state="session", index=None, placeholder="Type a name",
        help=HELP["find"], width=210,
    )  # fmt: skip


def arrange(
    chosen: Selection,
    every: Sequence[str],
    rows: Mapping[str, Sequence[float]],
    damage: Mapping[str, float],
    *,
    damaged: Markdown,
    worst: Mapping[str, float] | None = None,
    coloured: bool = False,
    searched: bool = True,
) -> Arrangement:
    """Draw the row of switches above a matrix and return what it asks for.

    Args:
        chosen: which concepts are measured.
        every: all concepts of the model.
        rows: the values of each probed concept, which clusters go by.
        damage: how much each suffers.
        damaged: what the order by damage is called here.
        worst: greatest loss of each to another one, in points; None where no row can be left out.
        coloured: whether the colours can show changes or scores.
        searched: whether the field that finds a concept stands here; one page has one.

    Returns:
        What is to be drawn.
    """
    changes, only_hit = False, False
    with st.container(horizontal=True, vertical_alignment="bottom", key="matrix_row"):
        if searched:
            find(every)
        controls.ready("sort", ORDERS, PLAIN)
        st.selectbox(
            "Order", ORDERS, key="sort", persist_state="session", width=190, help=HELP["sort"],
            format_func=lambda how: damaged if how == DAMAGE else how,
        )  # fmt: skip
        if coloured:
            controls.ready("cells", CELLS, CHANGE)
            st.segmented_control(
                "Colours show the", CELLS, key="cells", persist_state="session", required=True,
                help=HELP["cells"],
            )  # fmt: skip
            changes = st.session_state["cells"] == CHANGE
        state.tidy("only", list(chosen.probed))
        # Nothing is no list, and a list that is too long is an error of the widget.
        st.session_state["only"] = list(st.session_state.get("only") or ())[:_MOST_LISTED]
        st.multiselect(
            "Show only", chosen.probed, key="only", persist_state="session", select_all=False,
            max_selections=_MOST_LISTED, placeholder=plain(f"All {len(chosen.probed)}"), width=230,
        )  # fmt: skip
        if worst is not None:
            only_hit = st.toggle("Damaged rows only", key="hit", persist_state="session", help=HELP["hit"])
    how = one_of(st.session_state["sort"], ORDERS, PLAIN)
    only = st.session_state.get("only") or ()
    order = ordered(chosen.probed, how, rows, damage)
    shown = tuple(name for name in order if not only or name in only)
    columns = tuple(name for name in shown if name in chosen.edited)
    columns = columns or tuple(name for name in order if name in chosen.edited)
    hit = shown
    if only_hit and worst is not None:
        hit = tuple(name for name in shown if worst[name] >= 1) or shown
    return Arrangement(hit, columns, changes, len(shown) - len(hit))
