"""The inputs behind one cell of a matrix, and the way from there to Live."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from ...choice.choice import Choice
from ...choice.picture import Picture
from ...compute.cell_inputs import WRITTEN, class_answers, text_answers
from ...compute.criteria import Selection
from ...compute.images import pixels
from ...figures.charts.clicks import cell_of
from ...figures.panels.png import data_uri
from ...figures.words.as_text import Markdown, filled, plain
from ...figures.words.criteria import HOW, say_cell
from ...figures.words.live import describe_edit
from ...page import headings, parts, progress
from ...page.snippets import answers_code, inputs_code
from ...server.base import Base
from ...session.selection import select_concept
from ..shared import controls
from ..shared.to_live import send_to_live

__all__ = ["choose", "clickable", "clickable_layers", "show"]

_THUMBNAILS = 20
_EDIT = "_cell_edit"  # the concepts of the edit when a cell was open last
_CELL = "_cell"  # the cell that was open last, and the number chosen among its inputs


def choose(choice: Choice, chosen: Selection) -> tuple[str, str]:
    """Choose a cell by two lists, which a click on the matrix sets too; return edited and probed concept.

    The cell of the visitor's own edit is open at first, and again when another concept is chosen there.

    Returns:
        The edited and the probed concept.
    """
    known = st.session_state.get(_EDIT)
    added = [name for name in choice.concepts if name in chosen.edited and name not in (known or ())]
    if added and (known is not None or st.session_state.get("edited") is None):
        st.session_state["edited"] = st.session_state["probed"] = added[-1]
    st.session_state[_EDIT] = choice.concepts
    mine = [name for name in choice.concepts if name in chosen.edited]
    for key, names in (("edited", chosen.edited), ("probed", chosen.probed)):
        # It may be of another model, or no longer measured.
        controls.ready(key, names, mine[0] if mine else names[0])
    return str(st.session_state["edited"]), str(st.session_state["probed"])


def clickable(key: str) -> dict[str, Any]:
    """Return the options of a matrix of which a click opens a cell; `key` is that of its widget."""
    return {
        "on_select": partial(_opened, key), "selection_mode": "points", "key": key, "config": parts.CHART,
    }  # fmt: skip


def clickable_layers(key: str) -> dict[str, Any]:
    """Return the options of a figure of layers against concepts of which a click chooses both."""
    return clickable(key) | {"on_select": partial(_layer_opened, key)}


def _layer_opened(key: str) -> None:
    clicked = cell_of(st.session_state.get(key))
    if clicked is not None:
        st.session_state["at"], st.session_state["edited"] = clicked
        st.session_state["probed"] = clicked[1]  # the figure is about each concept's own inputs
        select_concept(clicked[1])


def _opened(key: str) -> None:
    clicked = cell_of(st.session_state.get(key))
    if clicked is not None:
        st.session_state["probed"], st.session_state["edited"] = clicked
        select_concept(clicked[1])


def show(base: Base, row: Choice, chosen: Selection, edited: str, probed: str, *, page: str) -> None:
    """Draw the inputs of the probed concept with the answers of both models.

    Args:
        base: the model.
        row: the edit that the cell's column stands for.
        chosen: what can be chosen.
        edited: the column.
        probed: the row.
        page: page it stands on.
    """
    headings.heading("Inputs of this cell", HOW["behind"])
    left, right = st.columns(2)
    with left:
        st.selectbox(
            "Erased or isolated concept (column)", chosen.edited, key="edited", persist_state="session"
        )
    with right:
        st.selectbox("Tested concept (row)", chosen.probed, key="probed", persist_state="session")
    if base.is_text:
        _questions(base, row, probed, page)
    elif base.of_images:
        _images(base, row, probed, page)
    else:
        _inputs(base, row, probed, page)


def _ready(numbers: Sequence[int], cell: tuple[str, ...]) -> None:
    """Give the choice among the inputs a number that is there; another cell begins with its first.

    An address, and the browser's back button, name cell and number together.
    """
    number = st.session_state.get("behind")
    last, then = st.session_state.get(_CELL) or (cell, number)
    if (last != cell and then == number) or number not in numbers:
        number = st.session_state["behind"] = numbers[0]
    st.session_state[_CELL] = cell, number


def _words(base: Base, row: Choice, probed: str, before: float, after: float) -> str:
    verb = "isolated" if row.keeps else "amplified" if row.strength < 0 else "erased"
    return say_cell(row.concepts[0], probed, verb, before, after)


def _say_changes(base: Base, row: Choice, probed: str, table: pd.DataFrame) -> None:
    before, after = ((table[side] == table["truth"]).mean() for side in ("base", "edited"))
    lost, gained = ((table["changed"] == kind).sum() for kind in ("lost", "gained"))
    moved = (
        f"**{lost:d}** are no longer named correctly and **{gained:d}** are only now; these come first."
        if lost or gained
        else "none changes between right and wrong."
    )
    st.markdown(
        f"{plain(_words(base, row, probed, before, after))} Of {len(table)} {plain(base.probe)}s {moved}"
    )


def _inputs(base: Base, row: Choice, probed: str, page: str) -> None:
    table = progress.run(class_answers(base, row, probed))
    _say_changes(base, row, probed, table)
    _table(base, row, table, page, probed)
    numbers = table["input"].tolist()
    _ready(numbers, (row.concepts[0], probed, row.mode))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox("Held-out input", numbers, key="behind", persist_state="session")
        if st.button("Show in Live", icon=":material/bolt:", type="primary", key="to_live"):
            send_to_live(row, **{"class": probed, "image": int(number or 1)})


def _images(base: Base, row: Choice, probed: str, page: str) -> None:
    table = progress.run(class_answers(base, row, probed))
    _say_changes(base, row, probed, table)
    some = table.head(_THUMBNAILS)
    says = dict(zip(some["image"], some["edited"], strict=True))

    def thumbnail(n: int) -> Markdown:
        about = filled("{}, image {}, now {}", probed, n, says[n])
        return f"![{about}]({data_uri(pixels(base, Picture(probed, n)))})"

    numbers = some["image"].tolist()
    _ready(numbers, (row.concepts[0], probed, row.mode))
    with st.container(key="thumbnails"):
        number = st.pills(
            plain(f"Held-out images of {probed}"),
            numbers,
            format_func=thumbnail,
            key="behind",
            persist_state="session",
            required=True,
            label_visibility="collapsed",
            wrap=True,
        )
    one = table[table["image"] == number].iloc[0]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            filled("Image {}: base **{}** → edited **{}**", number, one["base"], one["edited"]),
            width="stretch",
        )
        if st.button("Show in Live", icon=":material/bolt:", type="primary", key="to_live"):
            send_to_live(row, **{"class": probed, "image": int(number or 1)})
    with st.expander(f"All {len(table)} answers"):
        _table(base, row, table, page, probed)


def _questions(base: Base, row: Choice, probed: str, page: str) -> None:
    table = progress.run(text_answers(base, row, probed))
    st.markdown(plain(_words(base, row, probed, table["base"].mean(), table["edited"].mean())))
    _table(base, row, table, page, probed)
    asked = list(dict.fromkeys(table["question"]))
    _ready(range(1, len(asked) + 1), (row.concepts[0], probed, row.mode))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox(
            "Question",
            range(1, len(asked) + 1),
            format_func=lambda n: asked[n - 1],
            key="behind",
            persist_state="session",
        )
        if st.button("Show in Live", icon=":material/bolt:", type="primary", key="to_live"):
            send_to_live(row, prompt=asked[(number or 1) - 1])


def _table(base: Base, row: Choice, table: pd.DataFrame, page: str, probed: str) -> None:
    code = answers_code(probed, most=WRITTEN) if base.is_text else inputs_code(probed, base.one)
    name = f"Inputs of {probed}: {describe_edit(row)}"
    parts.Part(page, name, HOW["behind"], base, row).table("behind", table, words="", code=code)
