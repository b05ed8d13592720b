"""Criteria: specificity, reactivation, sufficiency, necessity; their controls, and the inputs behind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from .. import frame
from ..adapter import measures
from ..adapter.base import Base
from ..adapter.measures import Function, Selection
from ..choice import FROM_NOTHING, IN_PLACE, NULLS, Choice
from ..figures.criteria_text import ASKS, HOW, NAMES, say_function, say_response, say_shams
from ..figures.dots import Dots, dots
from ..figures.heatmaps import Scale, cell_of, heatmap
from ..figures.palette import BASE, CONTROL, EDITED
from . import cell, controls

__all__ = ["page"]

PAGE = "criteria"
MEAN = "mean over layers"

_FAINT = 0.25  # where no response is as large, the colours are spread over what there is

_MOST_LAYERS = 30  # layers up to which the page starts with the mean over all of them
_SUBSET = "#009E73"  # random subsets: bluish green of the palette, and always a square


@st.fragment
def page(base: Base) -> None:
    """Draw the page for a model."""
    frame.title("Four questions to a memory", "", page=PAGE)
    controls.ready("criterion", NAMES, "Necessity")
    criterion = st.segmented_control(
        "Criterion", NAMES, key="criterion", persist_state="session", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    criterion = criterion if criterion in NAMES else "Necessity"
    top, side = st.columns([3, 2], vertical_alignment="center")
    with side:
        choice = controls.folded(base.facts)
    chosen = measures.selection(base.facts, choice.concepts)
    with top:
        st.markdown(f"**{ASKS[criterion]}**")
    st.caption(_selected(base, chosen, choice, criterion))
    try:
        if criterion in ("Specificity", "Reactivation"):
            _responses(base, choice, chosen, criterion)
        else:
            _function(base, choice, chosen, criterion)
    except EngramError as error:
        st.warning(str(error))


def _selected(base: Base, chosen: Selection, choice: Choice, criterion: str) -> str:
    if chosen.every:
        text = f"All {len(chosen.edited)} concepts, each alone."
    else:
        text = (
            f"{len(chosen.edited)} of {len(base.facts.classes)} concepts as columns, each alone: those "
            f"chosen under "
            f"“Edit” first, then drawn at random (seed 0); as rows the same and "
            f"{len(chosen.probed) - len(chosen.edited)} more. Choose others under “Edit”."
        )
    if criterion == "Necessity":
        text += f" Strength {choice.strength:g}, {choice.scaling} scaling."
    else:
        text += " At strength 1."
    if choice.power != 1 or choice.clip:
        text += f" Sharpened: μ^{choice.power:g}{', clipped' if choice.clip else ''}."
    return text.replace(" -", " −")


def _run(steps: Iterator[tuple[float, str, Any]]) -> Any:
    """Work through portions with a bar that says what is done; leaving the page ends it between two."""
    status, found = st.empty(), None
    for share, doing, found in steps:  # noqa: B007
        if share < 1:
            status.progress(share, text=doing)
    status.empty()
    return found


def _opened(key: str) -> None:
    clicked = cell_of(st.session_state.get(key))
    if clicked is not None:
        st.session_state["probed"], st.session_state["edited"] = clicked


def _clickable(key: str) -> dict[str, Any]:
    return {
        "on_select": partial(_opened, key), "selection_mode": "points", "key": key, "config": frame.CHART,
    }  # fmt: skip


def _matrix(table: pd.DataFrame, column: str, chosen: Selection) -> np.ndarray:
    """Return rows probed × columns edited."""
    wide = table.pivot(index="probe", columns="concept", values=column)
    return wide.reindex(index=list(chosen.probed), columns=list(chosen.edited)).to_numpy(float)


def _some(chosen: Selection) -> str:
    if chosen.every:
        return "some = sample\n"
    return f"some = ec.Subject(sample.model, sample.concepts.subset({list(chosen.probed)!r}), sample.task)\n"


# -- how the function changes ---------------------------------------------------------------------


def _function_table(found: Function, chosen: Selection, criterion: str) -> pd.DataFrame:
    rows = []
    for concept, scores in found.rows.items():
        selective = found.selective(concept, scores, criterion.lower())
        for probe in chosen.probed:
            said = scores.says.get(probe)
            rows.append(
                {
                    "concept": concept, "probe": probe, "score": scores.score[probe],
                    "base": found.before[probe], "delta": scores.score[probe] - found.before[probe],
                    "says": np.nan if said is None else said.get(concept, 0.0), "selective": selective,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _function_code(choice: Choice, chosen: Selection, criterion: str, null: str, count: int) -> str:
    options = [f"concepts={list(chosen.edited)!r}"]
    if not choice.everywhere:
        options.append(f"layers={list(choice.layers)!r}")
    if criterion == "Necessity":
        options += [f"strength={choice.strength:g}", f"scaling={choice.scaling!r}"]
    else:
        options.append(f"null={'nothing' if null == FROM_NOTHING else 'in place'!r}")
    options.append(f"controls={count}")
    return f"{_some(chosen)}table = ec.{criterion.lower()}(some, atlas, {', '.join(options)})"


def _null(criterion: str) -> str:
    if criterion != "Sufficiency":
        return FROM_NOTHING
    controls.ready("state", NULLS, FROM_NOTHING)
    null = st.segmented_control(
        "What keeping starts from",
        NULLS,
        key="state",
        persist_state="session",
        required=True,
    )
    return null if null in NULLS else FROM_NOTHING


def _function(base: Base, choice: Choice, chosen: Selection, criterion: str) -> None:
    null = _null(criterion)
    name = f"{criterion}: score of every probe" + (f", kept {null}" if criterion == "Sufficiency" else "")
    frame.heading(name, HOW[criterion])
    found: Function = _run(
        measures.function_steps(base, choice, criterion.lower(), null, chosen, controls=False)
    )
    table = _function_table(found, chosen, criterion)
    edited, probed = cell.choose(chosen)
    values = 100 * _matrix(table, "score", chosen)
    says = 100 * _matrix(table, "says", chosen)
    hover = [
        [
            f"base {100 * found.before[probe]:.1f}"
            + (f"<br>answered with the kept concept: {said:.1f} %" if np.isfinite(said) else "")
            for said in line
        ]
        for probe, line in zip(chosen.probed, says, strict=True)
    ]
    figure = heatmap(
        values,
        chosen.probed,
        chosen.edited,
        row="Probed concept",
        column="Erased concept" if criterion == "Necessity" else "Only concept kept",
        scale=Scale(_score(base), 0.0, 100.0, number=".0f"),
        before=("base", 100 * np.array([found.before[probe] for probe in chosen.probed])),
        hover=hover,
        selected=(probed, edited),
    )
    shared: dict[str, Any] = {"page": PAGE, "base": base, "choice": choice}
    frame.figure(
        "matrix",
        figure,
        text=name,
        how=HOW[criterion],
        words=say_function(table, criterion, null),
        numbers=table,
        code=_function_code(choice, chosen, criterion, null, 0),
        **_clickable(f"matrix_{criterion}_{null}"),
        **shared,
    )
    row = measures.key_of(choice, edited, criterion.lower(), null)
    cell.show(base, row, chosen, edited, probed, page=PAGE)
    _function_shams(base, choice, chosen, criterion, null, shared)


def _score(base: Base) -> str:
    return "Exact recall (%)" if base.of_text else "Accuracy (%)"


def _dots_of(runs: list[list[float]], title: str, colour: str, symbol: str) -> Dots:
    parts = [
        100 * np.array([stat(run) if run else np.nan for run in runs]) for stat in (np.mean, np.min, np.max)
    ]
    return Dots(title, parts[0], colour, symbol, parts[1], parts[2])


def _function_shams(
    base: Base, choice: Choice, chosen: Selection, criterion: str, null: str, shared: dict[str, Any]
) -> None:
    seeds = measures.SHAMS
    how = HOW["shams"].format(seeds=seeds, least=1 / (1 + seeds))
    frame.heading("Against its controls", how)
    which = criterion.lower()
    found: Function = _run(measures.function_steps(base, choice, which, null, chosen, controls=True))
    effect = [found.selective(name, found.rows[name], which) for name in chosen.edited]
    gaussian, subset = (
        [[found.selective(name, run, which) for run in kind.get(name, [])] for name in chosen.edited]
        for kind in (found.gaussian, found.subset)
    )
    series = [_dots_of(gaussian, f"Gaussian, same size ({seeds} seeds)", CONTROL, "diamond")]
    if any(subset):
        series.append(_dots_of(subset, f"random subset ({seeds} seeds)", _SUBSET, "square-open"))
    series.append(Dots("this engram", 100 * np.array(effect), EDITED, "circle"))
    numbers = pd.DataFrame({"concept": chosen.edited, "selective": effect})
    for kind, runs in (("gaussian", gaussian), ("subset", subset)):
        if any(runs):
            numbers[f"selective_{kind}"] = [np.mean(run) if run else np.nan for run in runs]
            numbers[f"selective_{kind}_p"] = [
                (1 + sum(sham >= value for sham in run)) / (1 + len(run)) if run else np.nan
                for value, run in zip(effect, runs, strict=True)
            ]
    frame.figure(
        "shams",
        dots(
            chosen.edited,
            series,
            row="Concept",
            value="Selective effect (points)",
            lines=[("damage alone", 0.0, BASE)],
        ),
        text=f"{criterion} against its controls",
        how=how,
        words=say_shams(effect, gaussian, subset),
        numbers=numbers,
        code=_function_code(choice, chosen, criterion, null, seeds),
        **shared,
    )
    if found.refused:
        st.caption(f"No random subset: {found.refused}")
    elif null == IN_PLACE:
        st.caption(
            "In place there is no random-subset control: the concepts that are subtracted overlap the subset."
        )


# -- how the layers respond -----------------------------------------------------------------------


def _at(base: Base) -> str:
    layers = base.facts.layers
    options = [MEAN, *layers]
    controls.ready("at", options, MEAN if len(layers) <= _MOST_LAYERS else layers[0])
    at = st.selectbox("Layer", options, key="at", persist_state="session", width=360)
    return at if at in options else MEAN


def _responses(base: Base, choice: Choice, chosen: Selection, criterion: str) -> None:
    at = _at(base)
    layers = choice.layers if at == MEAN else (at,)
    where = f"mean over {len(layers)} layers" if at == MEAN else f"layer {at}"
    table: pd.DataFrame = _run(measures.response_steps(base, choice, chosen, layers))
    edited, probed = cell.choose(chosen)
    shared: dict[str, Any] = {"page": PAGE, "base": base, "choice": choice}
    some = _some(chosen)
    code = (
        f"{some}table = ec.responses(some, atlas, concepts={list(chosen.edited)!r}, layers={list(layers)!r}, "
        f"controls={measures.SHAMS})"
    )
    asked = [
        ("cosine", "Direction: cosine of E X and W X", "Reactivation"),
        ("explained", "Explained share of the response", "explained"),
    ]
    if criterion == "Specificity":
        asked = [("ratio", "Size of the answer ‖E X‖ / ‖W X‖", "Specificity")]
    for measure, title, how in asked:
        name = f"{title}, {where}"
        frame.heading(name, HOW[how])
        mean = table.groupby(["concept", "probe"], sort=False, as_index=False)[measure].mean()
        mean = mean.rename(columns={measure: "value"})
        high, faint = _top(float(mean["value"].max()), 1.0 if measure != "ratio" else np.inf)
        figure = heatmap(
            _matrix(mean, "value", chosen),
            chosen.probed,
            chosen.edited,
            row="Inputs of",
            column="Engram of",
            scale=Scale(title, 0.0, high),
            selected=(probed, edited),
        )
        frame.figure(
            measure,
            figure,
            text=name,
            how=HOW[how],
            words=say_response(mean, title, where) + faint,
            numbers=table,
            code=code,
            **_clickable(f"{measure}_{at}"),
            **shared,
        )
    row = measures.key_of(choice, edited, "necessity", FROM_NOTHING)
    cell.show(base, row, chosen, edited, probed, page=PAGE)
    for measure, title, _ in asked:
        _response_shams(table, chosen, measure, title, where, code, shared)
    if at == MEAN:
        for measure, title, _ in asked:
            _by_layer(table, chosen, measure, title, code, shared)
    else:
        st.caption(f"Layer against concept stands here for “{MEAN}”.")


def _top(greatest: float, most: float) -> tuple[float, str]:
    """Return the value of the lightest colour, and a sentence where that is not 1: nothing would be seen."""
    if not 0 < greatest < _FAINT:
        return min(max(1.0, greatest), most), ""
    return greatest, f" No value reaches {_FAINT:g}, so the colours end at {greatest:.2g} and not at 1."


def _response_shams(
    table: pd.DataFrame,
    chosen: Selection,
    measure: str,
    title: str,
    where: str,
    code: str,
    shared: dict[str, Any],
) -> None:
    columns = [c for c in (measure, f"{measure}_gaussian", f"{measure}_subset") if c in table]
    if len(columns) == 1:
        st.caption("No control: these inputs cannot be drawn from at random.")
        return
    how = HOW["response shams"].format(seeds=measures.SHAMS)
    name = f"{title} against its controls, {where}"
    frame.heading(name, how)
    mean = table.groupby(["concept", "probe"], sort=False, as_index=False)[columns].mean()
    own = mean[mean["concept"] == mean["probe"]].set_index("concept").reindex(list(chosen.edited))
    other = mean[mean["concept"] != mean["probe"]].groupby("concept")[measure].mean()
    elsewhere = other.reindex(list(chosen.edited)).to_numpy()
    series = [
        Dots("own inputs", own[measure].to_numpy(), EDITED),
        Dots("others' inputs", elsewhere, BASE),
        Dots("Gaussian, same norm", own[f"{measure}_gaussian"].to_numpy(), CONTROL, "diamond"),
        Dots("random subset", own[f"{measure}_subset"].to_numpy(), _SUBSET, "square-open"),
    ]
    numbers = own.drop(columns="probe").reset_index().assign(others=elsewhere)
    words = (
        f"{title}: own inputs {own[measure].mean():.2f}, others' {np.nanmean(elsewhere):.2f}, Gaussian "
        f"control {own[f'{measure}_gaussian'].mean():.2f}, random subset "
        f"{own[f'{measure}_subset'].mean():.2f} "
        f"(means of {len(own)} concepts)."
    )
    span = None
    if measure == "explained" and own[columns].to_numpy().min() < -1:
        span = (-1.05, 1.05)  # noise can be thousands of times off, and nothing else could be seen
        words += " What lies below −1 is left of the figure; the table has it."
    frame.figure(
        f"{measure}_shams",
        dots(chosen.edited, series, row="Concept", value=title, span=span),
        text=name,
        how=how,
        words=words.replace("-", "−"),
        numbers=numbers,
        code=code,
        **shared,
    )


def _by_layer(
    table: pd.DataFrame, chosen: Selection, measure: str, title: str, code: str, shared: dict[str, Any]
) -> None:
    own = table[table["concept"] == table["probe"]]
    wide = own.pivot(index="layer", columns="concept", values=measure)
    layers = list(dict.fromkeys(own["layer"]))
    wide = wide.reindex(index=layers, columns=list(chosen.edited))
    name = f"{title} on own inputs, layer by layer"
    frame.heading(name, HOW["by layer"])
    means = wide.mean(axis=1)
    high, faint = _top(float(np.nanmax(wide.to_numpy(float))), np.inf)
    words = (
        f"{title} on own inputs is greatest in {means.idxmax()} ({means.max():.2f}, mean over concepts) and "
        f"least "
        f"in {means.idxmin()} ({means.min():.2f})."
    )
    frame.figure(
        f"{measure}_layers",
        heatmap(
            wide.to_numpy(float),
            layers,
            chosen.edited,
            row="Layer",
            column="Concept",
            scale=Scale(title, 0.0, high),
            diagonal=False,
        ),
        text=name,
        how=HOW["by layer"],
        words=words.replace("-", "−") + faint,
        numbers=own[["layer", "concept", measure]],
        code=code,
        **shared,
    )
