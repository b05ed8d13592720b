"""The map of the engrams themselves: their cosines as a matrix and as a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ...choice.choice import Choice, one_of
from ...compute import maps
from ...compute.criteria import Selection
from ...figures.charts.clicks import cell_of
from ...figures.charts.colour_scale import Scale
from ...figures.charts.heatmap import heatmap
from ...figures.charts.labels import label
from ...figures.charts.scatter import Cloud, axes_of, scatter
from ...figures.words.as_text import plain
from ...figures.words.maps import HOW, say_cosines, say_neighbours
from ...page import parts, progress
from ...page.snippets import plain_atlas
from ...server.base import Base
from ...session import state
from ...session.selection import select_concept, selected_concept
from ..criteria.arrange import arrange
from ..shared.to_live import send_to_live
from .roles import ROLES, find, follow_colour, named, pick, picked_of, roles_of
from .wait import wait_for

__all__ = ["COLOURS", "draw"]

PAGE = "map"
_ROWS = 24
_NAMED = 40
COLOURS = ("Size ‖E‖", "Held-out score", "Nearest cosine", ROLES)


def draw(base: Base, choice: Choice, layer: str, method: str, dimensions: int) -> None:
    """Draw engrams as map and matrix.

    Args:
        base: the model.
        choice: the edit; its concepts are among those shown.
        layer: one layer, or "" for all together.
        method: "pca" or "umap".
        dimensions: 2 or 3.
    """
    names = maps.shown_concepts(base, choice, selected=selected_concept(), engrams=True)
    colours = COLOURS if choice.changes else COLOURS[:-1]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        find(base)
        follow_colour(
            colours, ROLES if choice.changes and not base.facts.slow else COLOURS[0], "engramcolour"
        )
        colour = st.segmented_control(
            "Colour by", colours, key="engramcolour", persist_state="session", required=True, wrap=True
        )
    found = progress.run(maps.compare_engrams(base, names, layer))
    _map(base, choice, found, layer, method, dimensions, one_of(colour, COLOURS, COLOURS[0]))
    _matrix(base, choice, layer)


def _cosines_code(choice: Choice, layer: str, names: Sequence[str]) -> str:
    return f"found = ec.engram_cosines({plain_atlas(choice)}, {layer or None!r}, concepts={list(names)!r})"


def _where(layer: str) -> str:
    return f"in {layer}" if layer else "over every layer together"


def _map(
    base: Base, choice: Choice, found: Any, layer: str, method: str, dimensions: int, colour: str
) -> None:
    job = maps.plain_job(base, found, layer, method, dimensions)
    waiting = not job.done()
    shown = "pca" if waiting else method
    placed = (maps.plain_job(base, found, layer, shown, dimensions) if waiting else job).result()
    shown = placed.method  # UMAP gives way to PCA where it can draw nothing, and says why
    nearest = found.nearest()
    numbers = nearest.join(placed.table())
    numbers["held-out score"] = [base.scores[name] for name in found.concepts]
    roles = roles_of(base, choice, found.concepts) if colour == ROLES else None
    values, title = {
        COLOURS[0]: (found.norms, "‖E‖, Frobenius norm"),
        COLOURS[1]: (100 * numbers["held-out score"].to_numpy(float), f"{base.sample.task.unit} (per cent)"),
        COLOURS[2]: (nearest["cosine"].to_numpy(float), "Cosine to the nearest engram"),
        ROLES: (None, ""),
    }[colour]
    hover = [
        f"<b>{label(row.concept)}</b><br>nearest: {label(str(row.nearest))}, cosine {row.cosine:.2f}"
        f"<br>‖E‖ {row.norm:.3g}"
        for row in nearest.itertuples()
    ]
    selected = selected_concept()
    shown_names = found.concepts if len(found.concepts) <= _NAMED else named(found.concepts, roles, selected)
    cloud = Cloud(
        points=placed.coordinates, hover=hover,
        categories=None if roles is None else [roles.of[name] for name in found.concepts],
        order=() if roles is None else roles.order, marks=None if roles is None else roles.marks,
        values=values, value_name=title,
        start=None, end=None, arrows=np.array([], int),
        axes=axes_of(shown, placed.explained, dimensions),
        names=[label(name) if name in shown_names else "" for name in found.concepts],
        ringed=[place for place, name in enumerate(found.concepts) if name == selected],
    )  # fmt: skip
    of = len(base.facts.classes)
    count = len(found.concepts)
    words = ("PCA, until UMAP is ready. " if waiting else f"{placed.note} ".lstrip()) + (
        f"The engrams of {f'all {of}' if count == of else f'{count} of {of}'} concepts, {_where(layer)}. "
    )
    words += say_cosines(found.concepts, found.cosines)
    words += "Click a point to open it in Live." if dimensions == 2 else "Drag to turn."
    text, how = f"Engrams {_where(layer)}", HOW["engrams"] + HOW[shown]
    part = parts.part(PAGE, text, how, base, choice)
    if roles is not None:
        words += say_neighbours(choice.gone(base.facts.classes), roles.neighbours)
    key = f"engrams_{shown}_{dimensions}"
    options: dict[str, Any] = {"key": key}
    if dimensions == 2:
        options |= {
            "on_select": partial(pick, key, found.concepts), "selection_mode": ("points", "box", "lasso"),
        }  # fmt: skip
    event = part.figure(
        f"engrams_{shown}", scatter(cloud), words=words, numbers=numbers,
        code=(
            f"{_cosines_code(choice, layer, found.concepts)}\n"
            f"places = ec.project(found.matrix, method={shown!r}, dimensions={dimensions})\n"
            "table = found.nearest().join(places.table())\n"
            "scores = sample.task.measure(sample.model, sample.concepts, found.concepts).score\n"
            'table["held-out score"] = table["concept"].map(scores)'
        ),
        **options,
    )  # fmt: skip
    # In 3-D nothing can be picked, and what comes back is no event.
    picked = picked_of(event, found.concepts) if dimensions == 2 else ()
    if picked:
        _behind(part, layer, [found.concepts[i] for i in picked if i < count], nearest)
    if waiting:
        wait_for(job, st.empty())


def _behind(part: parts.Part, layer: str, names: list[str], nearest: pd.DataFrame) -> None:
    base, choice = part.base, part.choice
    table = nearest[nearest["concept"].isin(names)]
    every = nearest["concept"].tolist()
    parts.Part(part.page, f"Selected engrams {_where(layer)}", HOW["engrams"], base, choice).table(
        "picked_engrams",
        table,
        words="",
        code=(
            f'{_cosines_code(choice, layer, every)}\ntable = found.nearest().query("concept in {names!r}")'
        ),
    )
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        name = st.selectbox("Engram", names, key="_map_engram")
    with right:
        if st.button("Erase it in Live", key="_map_engram_live", type="primary", width="stretch"):
            _send(base, [name])


def _send(base: Base, names: list[str]) -> None:
    edit = replace(state.erasing_of(base.facts), concepts=tuple(names), single_strengths=())
    shown: dict[str, Any] = (
        {"about": names[0]} if base.is_text else {"class": names[0], "image": 1, "drawn": ""}
    )
    send_to_live(edit, **shown)


def _cell_picked() -> None:
    cell = cell_of(st.session_state.get("cosines"))
    if cell is not None:
        select_concept(cell[1])


def _matrix(base: Base, choice: Choice, layer: str) -> None:
    names = maps.shown_concepts(base, choice, selected=selected_concept())[:_ROWS]
    text = f"Cosine between engrams {_where(layer)}"
    part = parts.part(PAGE, text, HOW["cosines"], base, choice)
    found = progress.run(maps.compare_engrams(base, names, layer), key="matrix")
    of = len(base.facts.classes)
    words = f"{len(names)} of {of} concepts. " if len(names) < of else ""
    shown = arrange(
        Selection(names, names, of == len(names)), base.facts.classes,
        dict(zip(names, found.cosines.tolist(), strict=True)),
        dict(zip(names, found.nearest()["cosine"], strict=True)), damaged="by nearest cosine", searched=False,
    )  # fmt: skip
    at = [[names.index(name) for name in side] for side in (shown.rows, shown.columns)]
    words += say_cosines(names, found.cosines) + "Click a cell to erase both concepts in Live."
    event = part.figure(
        "cosines",
        heatmap(
            found.cosines[np.ix_(*at)], shown.rows, shown.columns, row="Engram of", column="Engram of",
            scale=Scale("Cosine", high=1.0, signed=True),
        ),
        words=words, numbers=found.table(),
        code=f"{_cosines_code(choice, layer, names)}\ntable = found.table()",
        on_select=_cell_picked, selection_mode="points", key="cosines",
    )  # fmt: skip
    cell = cell_of(event)
    if cell is None or not set(cell) <= set(names):
        return
    pair = list(dict.fromkeys(cell))
    value = found.cosines[names.index(cell[0]), names.index(cell[1])]
    left, right = st.columns([2, 1], vertical_alignment="center")
    left.markdown(f"**{plain(' and '.join(pair))}**: cosine {value:.2f}")
    if right.button("Erase both in Live", key="_map_pair", type="primary", width="stretch"):
        _send(base, pair)
