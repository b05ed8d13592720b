"""The map of the engrams themselves: their cosines as a matrix and as a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ...choice.choice import Choice, one_of
from ...compute import maps
from ...figures.charts.clicks import cell_of, picked_points
from ...figures.charts.heatmap import heatmap
from ...figures.charts.labels import label
from ...figures.charts.scale import Scale
from ...figures.charts.scatter import Cloud, axes_of, scatter
from ...figures.words.as_text import plain
from ...figures.words.maps import HOW, say_cosines
from ...page import parts, progress
from ...page.snippets import plain_atlas
from ...server.base import Base
from ...session import state
from ..shared import controls
from ..shared.to_live import send_to_live
from .wait import wait_for

__all__ = ["COLOURS", "draw"]

PAGE = "map"
_ROWS = 24
_NAMED = 40
COLOURS = ("Size ‖E‖", "Held-out score", "Nearest cosine")


def draw(base: Base, choice: Choice, layer: str, method: str, dimensions: int) -> None:
    """Draw map and matrix.

    Args:
        base: the model.
        choice: the edit; its concepts are among those shown.
        layer: one layer, or "" for all together.
        method: "pca" or "umap".
        dimensions: 2 or 3.
    """
    names = maps.shown_concepts(base, choice, engrams=True)
    controls.ready("engramcolour", COLOURS, COLOURS[0])
    colour = st.segmented_control(
        "Colour by", COLOURS, key="engramcolour", persist_state="session", required=True
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
    values, title = {
        COLOURS[0]: (found.norms, "‖E‖, Frobenius norm"),
        COLOURS[1]: (100 * numbers["held-out score"].to_numpy(float), f"{base.sample.task.unit} (per cent)"),
        COLOURS[2]: (nearest["cosine"].to_numpy(float), "Cosine to the nearest engram"),
    }[colour]
    hover = [
        f"<b>{label(row.concept)}</b><br>nearest: {label(str(row.nearest))}, cosine {row.cosine:.2f}"
        f"<br>‖E‖ {row.norm:.3g}"
        for row in nearest.itertuples()
    ]
    few = len(found.concepts) <= _NAMED
    cloud = Cloud(
        points=placed.coordinates, hover=hover, categories=None, order=(), values=values, value_name=title,
        start=None, end=None, arrows=np.array([], int),
        axes=axes_of(shown, placed.explained, dimensions),
        names=[label(name) for name in found.concepts] if few else (),
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
    options: dict[str, Any] = {"key": f"engrams_{shown}_{dimensions}"}
    if dimensions == 2:
        options |= {"on_select": "rerun", "selection_mode": ("points", "box", "lasso")}
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
    picked = picked_points(event) if dimensions == 2 else []
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


def _matrix(base: Base, choice: Choice, layer: str) -> None:
    names = maps.shown_concepts(base, choice)[:_ROWS]
    found = progress.run(maps.compare_engrams(base, names, layer), key="matrix")
    of = len(base.facts.classes)
    words = f"{len(names)} of {of} concepts. " if len(names) < of else ""
    words += say_cosines(names, found.cosines) + "Click a cell to erase both concepts in Live."
    text = f"Cosine between engrams {_where(layer)}"
    event = parts.part(PAGE, text, HOW["cosines"], base, choice).figure(
        "cosines",
        heatmap(
            found.cosines, names, names, row="Engram of", column="Engram of",
            scale=Scale("Cosine", high=1.0, signed=True),
        ),
        words=words, numbers=found.table(),
        code=f"{_cosines_code(choice, layer, names)}\ntable = found.table()",
        on_select="rerun", selection_mode="points", key="cosines",
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
