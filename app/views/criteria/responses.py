"""Criteria, specificity and reactivation: how the layers respond to an engram's own and others' inputs."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd
import streamlit as st

from ...choice.choice import FROM_NOTHING, Choice
from ...compute import criteria as measures
from ...compute.criteria import Selection
from ...figures.charts.colour_scale import Scale
from ...figures.charts.dots import Dots, dots
from ...figures.charts.heatmap import grid, heatmap
from ...figures.charts.palette import BASE, CONTROL, EDITED, SUBSET
from ...figures.words.criteria import HOW, how_test, say_response
from ...page import headings, parts, progress
from ...page.snippets import shams_code, subset_code
from ...page.tables import column_config
from ...server.base import Base
from ..shared import controls
from . import cell
from .arrange import Arrangement, arrange

__all__ = ["MEAN", "draw"]

PAGE = "criteria"
MEAN = "mean over layers"

_FAINT = 0.25  # where no response is as large, the colours are spread over what there is
_MOST_LAYERS = 30  # layers up to which the page starts with the mean over all of them


def draw(base: Base, choice: Choice, chosen: Selection, criterion: str) -> None:
    """Draw the matrices of responses, the inputs behind one cell, the controls, and every layer.

    Args:
        base: the model.
        choice: the edit.
        chosen: which concepts.
        criterion: "Specificity" or "Reactivation".
    """
    at = _at(base)
    layers = choice.layers if at == MEAN else (at,)
    where = f"mean over {len(layers)} layers" if at == MEAN else f"layer {at}"
    seeds = measures.SHAMS
    table: pd.DataFrame = progress.run(measures.measure_responses(base, choice, chosen, layers, seeds))
    edited, probed = cell.choose(choice, chosen)
    code = _code(base, chosen, layers, controlled="ratio_gaussian" in table, seeds=seeds)
    shown = _arranged(base, chosen, table, "ratio" if criterion == "Specificity" else "cosine")
    asked = [
        ("cosine", "Direction: cosine of E X and W X", "Reactivation"),
        ("explained", "Explained share of the response", "explained"),
    ]
    if criterion == "Specificity":
        asked = [("ratio", "Size of the answer ‖E X‖ / ‖W X‖", "Specificity")]
    for measure, title, how in asked:
        name = f"{title}, {where}"
        part = parts.part(PAGE, name, HOW[how], base, choice)
        mean = table.groupby(["concept", "probe"], sort=False, as_index=False)[measure].mean()
        mean = mean.rename(columns={measure: "value"})
        high, faint = _top(float(mean["value"].max()), 1.0 if measure != "ratio" else np.inf)
        figure = heatmap(
            grid(mean, "value", shown.rows, shown.columns),
            shown.rows,
            shown.columns,
            row="Inputs of",
            column="Engram of",
            scale=Scale(title, 0.0, high),
            selected=(probed, edited),
        )
        part.figure(
            measure,
            figure,
            words=say_response(mean, title, where) + faint,
            numbers=table,
            code=code,
            **cell.clickable(f"{measure}_{at}"),
        )
    row = measures.key_of(choice, edited, "necessity", FROM_NOTHING)
    with suppress(progress.Stopped):
        cell.show(base, row, chosen, edited, probed, page=PAGE)
    with suppress(progress.Stopped):
        _controls(base, choice, chosen, layers, table, asked, where, code)
    if at != MEAN:
        if not controls.wanted(base.facts, "Layer against concept", "every_layer", HOW["asked"]):
            return
        # Without controls, which stand above for the layer that was chosen.
        table = progress.run(
            measures.measure_responses(base, choice, chosen, choice.layers, 0), key="every layer"
        )
        code = _code(base, chosen, choice.layers, controlled=False, seeds=0)
    for measure, title, _ in asked:
        name = f"{title} on own inputs, layer by layer"
        part = parts.part(PAGE, name, HOW["by layer"], base, choice)
        _by_layer(part, table, chosen, measure, title, code, (at, edited))


def _arranged(base: Base, chosen: Selection, table: pd.DataFrame, measure: str) -> Arrangement:
    """Draw the switches above the matrices; return what they ask for."""
    mean = table.groupby(["concept", "probe"], sort=False, as_index=False)[measure].mean()
    others = mean[mean["concept"] != mean["probe"]].groupby("probe")[measure].max()
    values = grid(mean, measure, chosen.probed, chosen.edited)
    return arrange(
        chosen, base.facts.classes, dict(zip(chosen.probed, values.tolist(), strict=True)),
        {name: float(others.get(name, np.nan)) for name in chosen.probed},
        damaged="by answer to another engram",
    )  # fmt: skip


def _controls(
    base: Base,
    choice: Choice,
    chosen: Selection,
    layers: tuple[str, ...],
    table: pd.DataFrame,
    asked: list[tuple[str, str, str]],
    where: str,
    code: str,
) -> None:
    seeds = measures.SHAMS
    if any(f"{measure}_gaussian" in table for measure, *_ in asked):
        note = "Controls: a check; 20 seeds are a test, with z and p."
        seeds = controls.seeds_wanted(seeds, measures.MANY, note=note)
    if seeds > measures.SHAMS:
        steps = measures.measure_responses(base, choice, chosen, layers, seeds)
        table = progress.run(steps, key="controls")
        code = _code(base, chosen, layers, controlled=True, seeds=seeds)
    how = HOW["response controls"].format(seeds=seeds, test=how_test(seeds, len(chosen.edited)))
    for measure, title, _ in asked:
        name = f"{title} vs controls, {where}"
        part = parts.Part(PAGE, name, how, base, choice)
        _shams(part, table, chosen, measure, title, code, seeds)


def _at(base: Base) -> str:
    layers = base.facts.layers
    options = [MEAN, *layers]
    controls.ready("at", options, MEAN if len(layers) <= _MOST_LAYERS else layers[0])
    at = st.selectbox("Layer", options, key="at", persist_state="session", width=360)
    return at if at in options else MEAN


def _code(base: Base, chosen: Selection, layers: tuple[str, ...], *, controlled: bool, seeds: int) -> str:
    names = list(chosen.edited)
    options = f"concepts={names!r}, layers={list(layers)!r}"
    lines = [subset_code(chosen.probed, base.facts.classes)]
    if controlled:
        lines.append(shams_code(names, seeds))
        options += f", controls={seeds}, shams=shams"
    else:
        options += ", controls=0"
    return "\n".join([*lines, f"table = ec.responses(some, atlas, {options})"])


def _top(greatest: float, most: float) -> tuple[float, str]:
    """Return the value of the lightest colour, and a sentence where that is not 1: nothing would be seen."""
    if not 0 < greatest < _FAINT:
        return min(max(1.0, greatest), most), ""
    return greatest, f" No value reaches {_FAINT:g}, so the colours end at {greatest:.2g} and not at 1."


def _shams(
    part: parts.Part,
    table: pd.DataFrame,
    chosen: Selection,
    measure: str,
    title: str,
    code: str,
    seeds: int,
) -> None:
    columns = [c for c in (measure, f"{measure}_gaussian", f"{measure}_subset") if c in table]
    if len(columns) == 1:
        st.caption("No control: these inputs cannot be drawn from at random.")
        return
    headings.heading(part.text, part.how)
    mean = table.groupby(["concept", "probe"], sort=False, as_index=False)[columns].mean()
    own = mean[mean["concept"] == mean["probe"]].set_index("concept").reindex(list(chosen.edited))
    other = mean[mean["concept"] != mean["probe"]].groupby("concept")[measure].mean()
    elsewhere = other.reindex(list(chosen.edited)).to_numpy()
    series = [
        Dots("own inputs", own[measure].to_numpy(), EDITED),
        Dots("others' inputs", elsewhere, BASE),
        Dots("Gaussian, same norm", own[f"{measure}_gaussian"].to_numpy(), CONTROL, "diamond"),
        Dots("random subset", own[f"{measure}_subset"].to_numpy(), SUBSET, "square-open"),
    ]
    numbers = own.drop(columns="probe").reset_index().assign(others=elsewhere)
    tests = _tests(table, chosen, measure) if seeds > measures.SHAMS else None
    if tests is not None:
        numbers = numbers.join(tests.reset_index(drop=True))
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
    part.figure(
        f"{measure}_shams",
        dots(chosen.edited, series, row="Concept", value=title, span=span),
        words=words.replace("-", "−") + ("" if tests is None else _say_tests(tests, seeds)),
        numbers=numbers,
        code=(
            f"{code}\n"
            'mean = table.groupby(["concept", "probe"], as_index=False).mean(numeric_only=True)\n'
            f'others = mean[mean["concept"] != mean["probe"]].groupby("concept")[{measure!r}].mean()\n'
            'own = mean[mean["concept"] == mean["probe"]].set_index("concept")\n'
            "table = own.assign(others=others).reset_index()"
        ),
    )
    if tests is not None:
        with st.expander("z and p of every concept"):
            st.dataframe(numbers, hide_index=True, width="stretch", column_config=column_config(numbers))


def _tests(table: pd.DataFrame, chosen: Selection, measure: str) -> pd.DataFrame:
    """Return z and p of every concept on its own inputs; over several layers, in how many p ≤ .05."""
    own = table[table["concept"] == table["probe"]].set_index("concept")
    kinds = ("gaussian", "subset")
    if table["layer"].nunique() == 1:
        columns = [f"{measure}_{kind}_{tail}" for kind in kinds for tail in ("z", "p")]
        return own[columns].reindex(list(chosen.edited))
    layers = own.groupby(level=0, sort=False)
    found = {
        f"layers with p ≤ .05 ({kind})": layers[f"{measure}_{kind}_p"].agg(lambda p: int((p <= 0.05).sum()))
        for kind in kinds
    }
    return pd.DataFrame(found).reindex(list(chosen.edited)).assign(layers=table["layer"].nunique())


def _say_tests(tests: pd.DataFrame, seeds: int) -> str:
    said = []
    for name, title in (("gaussian", "Gaussian changes"), ("subset", "random subsets")):
        p = next((tests[c] for c in tests if c.endswith(f"{name}_p")), None)
        if p is not None:
            said.append(f"p ≤ .05 against {title} for {int((p <= 0.05).sum())} of {len(p)} concepts")
        else:
            share = tests[f"layers with p ≤ .05 ({name})"] / tests["layers"]
            said.append(f"p ≤ .05 against {title} in {share.mean():.0%} of the layers (mean over concepts)")
    return f" With {seeds} seeds: {'; '.join(said)}."


def _by_layer(
    part: parts.Part,
    table: pd.DataFrame,
    chosen: Selection,
    measure: str,
    title: str,
    code: str,
    selected: tuple[str, str],
) -> None:
    own = table[table["concept"] == table["probe"]]
    layers = list(dict.fromkeys(own["layer"]))
    values = grid(own, measure, layers, chosen.edited, row="layer")
    means = own.groupby("layer", sort=False)[measure].mean()
    high, faint = _top(float(np.nanmax(values)), np.inf)
    words = (
        f"{title} on own inputs is greatest in {means.idxmax()} ({means.max():.2f}, mean over concepts) and "
        f"least "
        f"in {means.idxmin()} ({means.min():.2f})."
    )
    part.figure(
        f"{measure}_layers",
        heatmap(
            values,
            layers,
            chosen.edited,
            row="Layer",
            column="Concept",
            scale=Scale(title, 0.0, high),
            diagonal=False,
            selected=selected,
        ),
        words=words.replace("-", "−") + faint,
        numbers=own[["layer", "concept", measure]],
        code=f'{code}\ntable = table[table["concept"] == table["probe"]]',
        **cell.clickable_layers(f"{measure}_layers_{selected[0]}"),
    )
