"""Map: inputs by their traces or hidden states, and the engrams themselves; base and edited on one map."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engram_core.errors import EngramError
from engram_core.progress import watch

from ...choice.choice import Choice, one_of
from ...compute import maps
from ...compute.maps import Measured
from ...compute.scores import score_edit
from ...figures.charts.labels import label
from ...figures.charts.scatter import Cloud, axes_of, scatter
from ...figures.words.as_text import Markdown, plain
from ...figures.words.maps import HOW, say_map, say_moved, say_neighbours
from ...page import frame, parts
from ...page.snippets import plain_atlas
from ...server.base import Base
from ...session.selection import selected_concept
from ..shared import controls
from . import engrams as map_engrams
from . import picked as map_picked
from .motion import motion
from .roles import ROLES, find, follow_colour, named, pick, roles_of
from .wait import wait_for

__all__ = ["page"]

PAGE = "map"
TRACES, HIDDEN, ENGRAMS = POINTS = ("Inputs by traces", "Inputs by hidden state", "Engrams")
METHODS = {"PCA": "pca", "UMAP": "umap"}
SIZES = {"2-D": 2, "3-D": 3}
FITS = {"base and edited": "joint", "base alone": "base"}
CONCEPT, SAYS, SPECIFIC, SCORE = "Concept", "Answer", "Specificity", "Held-out score"
ARROWS = 40
_ARROWS = "_arrows"


def page(base: Base) -> None:
    """Draw the maps of inputs and engrams for a model."""
    maps.warm()
    frame.title("Which memories lie together, and what an edit moves", "", page=PAGE)
    first, second = st.columns([3, 2], vertical_alignment="bottom")
    with first:
        points = _segments("Points", POINTS, "points")
    with second:
        choice = controls.folded(base.facts)
    row = st.container(horizontal=True, vertical_alignment="bottom", key="map_row")
    with row:
        method = METHODS[_segments("Method", tuple(METHODS), "method")]
        dimensions = SIZES[_segments("Dimensions", tuple(SIZES), "dimensions")]
    try:
        if points == ENGRAMS:
            with row:
                layer = _layer(base, "every layer together")
            map_engrams.draw(base, choice, layer, method, dimensions)
        else:
            _inputs(base, choice, points, method, dimensions, row)
    except EngramError as error:
        st.warning(plain(error))


def _segments(text: Markdown, options: tuple[Markdown, ...], key: str) -> str:
    controls.ready(key, options, options[0])
    value = st.segmented_control(text, options, key=key, persist_state="session", required=True, wrap=True)
    return one_of(value, options, options[0])


def _layer(base: Base, none: str | None) -> str:
    options = ([none] if none else []) + list(base.facts.layers)
    start = options[0] if none else options[-1]
    controls.ready("maplayer", options, start)
    value = st.selectbox("Layer", options, key="maplayer", persist_state="session", width=230)
    value = one_of(value, options, start)
    return "" if value == none else value


def _arrows_changed() -> None:
    st.session_state["noarrows"] = not st.session_state[_ARROWS]


def _inputs(base: Base, choice: Choice, points: str, method: str, dimensions: int, place: Any) -> None:
    colours = [CONCEPT, SAYS, *([SPECIFIC] if points == TRACES else []), SCORE]
    start = CONCEPT
    if choice.changes:
        colours.insert(0, ROLES)
        start = CONCEPT if base.facts.slow else ROLES  # of a large model comparing engrams takes a while
    layer = ""
    with place:
        find(base)
        follow_colour(colours, start, "colour")
        colour = st.selectbox("Colour by", colours, key="colour", persist_state="session", width=190)
        colour = one_of(colour, colours, CONCEPT)
        if points == HIDDEN:
            layer = _layer(base, None)
    after = arrows = False
    fit = "joint"
    if choice.changes:
        with place:
            after = st.toggle(
                "After edit", key="after", persist_state="session", help="Off: where the base has the points."
            )
            # The address holds what is not the default: that they are hidden.
            st.session_state[_ARROWS] = not st.session_state.get("noarrows")
            arrows = st.toggle(
                "Show arrows", key=_ARROWS, on_change=_arrows_changed,
                help=f"They lead from base to edited, for the {ARROWS} inputs that moved most.",
            )  # fmt: skip
            fit = FITS[_segments("Fit on", tuple(FITS), "fit")]
    else:
        st.caption("Erase a concept under **Current edit**, and see which inputs move.")
    status, left = st.empty(), st.container()
    measured = watch(
        maps.measure_inputs(base, choice, layer, selected_concept()),
        lambda step: status.progress(step.share, text="Measuring what every input leaves in the layers"),
    )
    scores = base.scores
    if colour == SCORE and after:
        scores = watch(
            score_edit(base, choice),
            lambda step: status.progress(step.share, text="Scoring the edited model on every concept"),
        )
    status.empty()
    with left:
        _map(
            base, choice, measured, points, layer, method, dimensions, fit, colour, after, arrows, scores,
            status,
        )  # fmt: skip


def _map(
    base: Base, choice: Choice, measured: Measured, points: str, layer: str, method: str, dimensions: int,
    fit: str, colour: str, after: bool, arrows: bool, scores: Any, status: Any,
) -> None:  # fmt: skip
    job = maps.joint_job(base, measured, choice, layer, method, dimensions, fit)
    waiting = not job.done()
    shown = "pca" if waiting else method
    found = (
        maps.joint_job(base, measured, choice, layer, shown, dimensions, fit) if waiting else job
    ).result()
    shown = found.base.method  # UMAP gives way to PCA where it can draw nothing, and says why
    inputs, says = measured.inputs, measured.edited.answers if after else measured.base.answers
    special = measured.edited.specificity if after else measured.base.specificity
    arrow_points = found.most_moved(ARROWS) if arrows else np.array([], int)
    categories: Sequence[str] | None = None
    order: Sequence[str] = ()
    values: np.ndarray | None = None
    name = ""
    roles = marks = None
    if colour == ROLES:
        roles = roles_of(base, choice, inputs.names)
        categories, order, marks = [roles.of[name] for name in inputs.concept], roles.order, roles.marks
    elif colour == CONCEPT:
        categories, order = inputs.concept, inputs.names
    elif colour == SAYS:
        categories = says
        # A model may answer with a class that is no concept here.
        said = (*base.facts.classes, *sorted({*measured.base.answers, *measured.edited.answers}))
        order = ("right", "wrong", "") if base.is_text else tuple(dict.fromkeys(said))
    elif colour == SPECIFIC:
        values, name = special, "Own trace − strongest other"
    else:
        values = np.array([100 * scores[c] for c in inputs.concept])
        name = f"{base.sample.task.unit} of the input’s concept (per cent)"
    of, selected = np.array(inputs.concept, object), selected_concept()
    cloud = Cloud(
        points=found.edited if after else found.base.coordinates,
        hover=_hover(base, choice, measured, found.relative),
        categories=categories, order=order, values=values, value_name=name,
        start=found.base.coordinates if choice.changes else None,
        end=found.edited if choice.changes else None,
        arrows=arrow_points,
        axes=axes_of(shown, found.base.explained, dimensions),
        marks=marks,
        centres={name: np.flatnonzero(of == name).tolist() for name in named(inputs.names, roles, selected)},
        ringed=np.flatnonzero(of == selected).tolist(),
    )  # fmt: skip
    kind = f"{'recorded' if measured.recorded else 'held-out'} {base.one}s"
    words = (
        f"{found.base.note} ".lstrip()
        + ("Edited model: " if after else "Base model: ")
        + say_map(len(inputs), inputs.names, len(base.facts.classes), inputs.available, kind)
    )
    if choice.changes:
        words += say_moved(
            inputs.concept, found.relative, found.shown, len(arrow_points), measured.base.answers,
            measured.edited.answers,
        )  # fmt: skip
    if roles is not None:
        words += say_neighbours(choice.gone(base.facts.classes), roles.neighbours)
    words += (
        "Click a point to see its input; lasso and box, for many, are at the top right of the figure."
        if dimensions == 2
        else "Drag to turn; inputs can be picked in 2-D."
    )
    if waiting:
        words = "PCA, until UMAP is ready. " + words
    text = points + (f" of {layer}" if layer else "")
    how = HOW["traces" if points == TRACES else "hidden"] + HOW[shown]
    how += HOW[fit] if choice.changes else ""
    part = parts.part(PAGE, text, how, base, choice)
    with st.container(key="side_by_side"):
        plot, side = st.columns([7, 3], gap="medium") if dimensions == 2 else (st.container(), None)
    plot = plot.container(key="map_plot")
    if dimensions == 2:
        motion(len(inputs), maps.sprite_of(base, inputs) if base.of_images else None)
    key = f"map_{shown}_{dimensions}"
    options: dict[str, Any] = {"key": key}
    if dimensions == 2:
        options |= {
            "on_select": partial(pick, key, inputs.concept), "selection_mode": ("points", "box", "lasso"),
        }  # fmt: skip
    numbers = _numbers(measured, found)
    code = _code(measured, layer, shown, dimensions, fit, choice)
    event = part.figure(
        f"map_{shown}", scatter(cloud), words=words,
        numbers=numbers, code=code,
        place=plot, **options,
    )  # fmt: skip
    if side is not None:
        with side:
            map_picked.draw(part, measured, event, numbers=numbers, code=code)
    if waiting:
        wait_for(job, status)


def _hover(base: Base, choice: Choice, measured: Measured, relative: np.ndarray) -> list[str]:
    kind = base.one
    found = []
    rows = zip(
        measured.inputs.concept, measured.inputs.number, measured.inputs.text, measured.base.answers,
        measured.edited.answers, relative, strict=True,
    )  # fmt: skip
    for concept, number, text, before, after, moved in rows:
        lines = [f"<b>{label(concept)}</b>, {kind} {number}"]
        if text:
            short = text if len(text) <= 70 else text[:69] + "…"
            lines.append(html.escape(short))
        if before:
            lines.append(f"base: {label(before)}" + (f" → edited: {label(after)}" if choice.changes else ""))
        if choice.changes:
            lines.append(f"moved {moved:.2f} of the cloud’s radius")
        found.append("<br>".join(lines))
    return found


def _numbers(measured: Measured, found: Any) -> pd.DataFrame:
    table = measured.inputs.table()
    table["base answer"], table["edited answer"] = measured.base.answers, measured.edited.answers
    if not np.isnan(measured.base.specificity).all():
        table["base specificity"] = measured.base.specificity
        table["edited specificity"] = measured.edited.specificity
    return pd.concat([table, found.table()], axis=1)


def _code(measured: Measured, layer: str, method: str, dimensions: int, fit: str, choice: Choice) -> str:
    recorded = ", recorded=True" if measured.recorded else ""
    atlas = plain_atlas(choice)
    measure = (
        f"ec.hidden_states(m, {atlas}, inputs, {layer!r})"
        if layer
        else f"ec.trace_strengths(m, {atlas}, inputs)"
    )
    lines = [
        "import pandas as pd",
        "from engram_core.mapping.inputs import answers",
        "",
        f"inputs = ec.draw_inputs(sample, {list(measured.inputs.names)!r}{recorded})",
        f"before, after = ({measure} for m in (sample.model, edited))",
        f"places = ec.joint_projection(before.matrix, after.matrix, method={method!r}, "
        f"dimensions={dimensions}, fit={fit!r})",
        "table = pd.concat([inputs.table(), places.table()], axis=1)",
        'table["base answer"] = answers(sample, inputs)',
        'table["edited answer"] = answers(sample, inputs, edited)',
    ]
    if not layer:
        lines.append('table["base specificity"] = before.specificity')
        lines.append('table["edited specificity"] = after.specificity')
    return "\n".join(lines)
