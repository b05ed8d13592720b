"""Layers: where a memory lives, what a layer's inputs span, and what editing in some layers alone does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from .. import frame
from ..adapter import layer_tables
from ..adapter.base import Base
from ..choice import ERASE, FROM_NOTHING, Choice
from ..figures import layers_text as text
from ..figures.dots import Dots, dots
from ..figures.heatmaps import Scale, heatmap
from ..figures.palette import BASE, CONTROL, EDITED, LOSS
from ..figures.spectra import FAINT, exclusivity_figure, spectrum_figure
from ..figures.text import describe_edit
from . import controls
from .sending import send_to_live

__all__ = ["page"]

PAGE = "layers"
_DIRECTIONS = 48  # drawn per layer; the table has all


@st.fragment
def page(base: Base) -> None:
    """Draw the page for a model."""
    frame.title("Where a memory lives", "", page=PAGE)
    controls.ready("look", text.LOOKS, text.LOOKS[0])
    look = st.segmented_control(
        "What to look at",
        text.LOOKS,
        key="look",
        persist_state="session",
        required=True,
        label_visibility="collapsed",
    )
    look = look if look in text.LOOKS else text.LOOKS[0]
    top, side = st.columns([3, 2], vertical_alignment="center")
    with side:
        choice = controls.folded(base.facts)
    with top:
        st.markdown(f"**{text.ASKS[look]}**")
    draw = dict(zip(text.LOOKS, (_energy, _directions, _leak, _effect, _coverage), strict=True))[look]
    try:
        draw(base, choice)
    except EngramError as error:
        st.warning(str(error))


def _run(steps: Iterator[tuple[float, str, Any]]) -> Any:
    """Work through portions with a bar that says what is done; leaving the page ends it between two."""
    status, found = st.empty(), None
    for share, doing, found in steps:  # noqa: B007
        if share < 1:
            status.progress(share, text=doing)
    status.empty()
    return found


def _shared(base: Base, choice: Choice) -> dict[str, Any]:
    return {"page": PAGE, "base": base, "choice": choice}


def _table(base: Base, choice: Choice) -> tuple[tuple[str, ...], pd.DataFrame]:
    names = layer_tables.shown_concepts(base, choice.concepts)
    if len(names) < len(base.facts.classes):
        st.caption(
            f"{len(names)} of {len(base.facts.classes)} concepts: those chosen under “Edit” first, then "
            f"drawn at "
            "random (seed 0). The Python under “Take away” has them all."
        )
    return names, _run(layer_tables.table_steps(base, choice, names))


def _wide(table: pd.DataFrame, column: str, base: Base, names: tuple[str, ...]) -> np.ndarray:
    wide = table.pivot(index="layer", columns="concept", values=column)
    return wide.reindex(index=list(base.facts.layers), columns=list(names)).to_numpy(float)


# -- where it is ----------------------------------------------------------------------------------


def _energy(base: Base, choice: Choice) -> None:
    names, table = _table(base, choice)
    controls.ready("shade", text.SHADES, text.SHADES[0])
    shade = st.segmented_control("Colours", text.SHADES, key="shade", persist_state="session", required=True)
    values = _wide(table, "relative", base, names)
    ranks = _wide(table, "rank", base, names)
    log = shade != text.SHADES[1]
    name = f"Size of every engram, {text.SHADES[0 if log else 1]} colours"
    frame.heading(name, text.HOW["energy"])
    frame.figure(
        "energy",
        heatmap(
            values,
            base.facts.layers,
            names,
            row="Layer (forward order)",
            column="Concept",
            scale=Scale("‖E‖ / ‖W‖", low=None if log else 0.0, log=log, number="#.2g"),
            hover=[[f"rank at most {rank:.0f}" for rank in line] for line in ranks],
            diagonal=False,
        ),
        text=name,
        how=text.HOW["energy"],
        words=text.say_energy(table),
        numbers=table[["layer", "concept", "norm", "relative", "rank"]],
        code="table = ec.layer_table(atlas)",
        **_shared(base, choice),
    )


def _leak(base: Base, choice: Choice) -> None:
    names, table = _table(base, choice)
    leak, residue = (100 * _wide(table, column, base, names) for column in ("leak", "residue"))
    frame.heading("Leak certificate", text.HOW["leak"])
    frame.figure(
        "leak",
        heatmap(
            100 * _wide(table, "error", base, names),
            base.facts.layers,
            names,
            row="Layer (forward order)",
            column="Concept",
            scale=Scale("Leak + residue (% of ‖W X‖²)", 0.0, 100.0, number=".0f"),
            hover=[
                [f"leaks {a:.1f} %<br>stays {b:.1f} %" for a, b in zip(*lines, strict=True)]
                for lines in zip(leak, residue, strict=True)
            ],
            diagonal=False,
        ),
        text="Leak certificate",
        how=text.HOW["leak"],
        words=text.say_leak(table),
        numbers=table[["layer", "concept", "leak", "residue", "error"]],
        code="table = ec.layer_table(atlas)",
        **_shared(base, choice),
    )


# -- what the inputs span -------------------------------------------------------------------------


def _which(base: Base, choice: Choice) -> tuple[str, str]:
    left, right = st.columns(2)
    layers, classes = base.facts.layers, base.facts.classes
    controls.ready("lookat", layers, layers[0])
    controls.ready("which", classes, next(iter(choice.concepts), classes[0]))
    with left:
        layer = st.selectbox("Layer", layers, key="lookat", persist_state="session")
    with right:
        concept = st.selectbox("Concept", classes, key="which", persist_state="session")
    return layer or layers[0], concept or classes[0]


def _directions(base: Base, choice: Choice) -> None:
    layer, concept = _which(base, choice)
    shared = _shared(base, choice)
    table, threshold, form = layer_tables.spectrum(base, layer)
    groups = table["group"].nunique()
    first = table[table["group"] == 0]
    name = f"Spectrum of what {layer} reads"
    frame.heading(name, text.HOW["spectrum"])
    frame.figure(
        "spectrum",
        spectrum_figure(first["eigenvalue"].to_numpy(), threshold),
        text=name,
        how=text.HOW["spectrum"],
        words=text.say_spectrum(first, threshold, form, groups),
        numbers=table,
        code=f"table = atlas.spectra([{layer!r}])",
        **shared,
    )
    mu = _run(layer_tables.exclusivity_steps(base, concept, (layer,)))[layer]
    counts = base.atlas.counts
    share = counts[concept] / max(sum(counts.values()), 1)
    name = f"Directions of {concept} in {layer}: its own or shared"
    frame.heading(name, text.HOW["exclusivity"])
    frame.figure(
        "exclusivity",
        exclusivity_figure(mu[mu > FAINT], share),
        text=name,
        how=text.HOW["exclusivity"],
        words=text.say_exclusivity(mu, concept, layer),
        numbers=pd.DataFrame({"direction": range(1, len(mu) + 1), "mu": mu}),
        code=f"table = ec.exclusivity_table(atlas, layers=[{layer!r}], concepts=[{concept!r}])",
        **shared,
    )
    _by_layer(base, concept, shared)


def _by_layer(base: Base, concept: str, shared: dict[str, Any]) -> None:
    layers = base.facts.layers
    name = f"Directions of {concept}, layer by layer"
    frame.heading(name, text.HOW["by layer"])
    found = _run(layer_tables.exclusivity_steps(base, concept, layers))
    every = [found[layer][found[layer] > FAINT] for layer in layers]
    most = min(max(len(mu) for mu in every), _DIRECTIONS)
    values = np.array([[*mu[:most], *[np.nan] * (most - len(mu))] for mu in every], float)
    frame.figure(
        "by_layer",
        heatmap(
            values.reshape(len(layers), most),
            layers,
            [str(place) for place in range(1, most + 1)],
            row="Layer (forward order)",
            column="Direction (most exclusive first)",
            scale=Scale("Exclusivity μ", 0.0),
            diagonal=False,
        ),
        text=name,
        how=text.HOW["by layer"],
        words=text.say_directions(layers, every, concept),
        numbers=pd.DataFrame(
            [
                (layer, place, value)
                for layer, mu in zip(layers, every, strict=True)
                for place, value in enumerate(mu, start=1)
            ],
            columns=["layer", "direction", "mu"],
        ),
        code=f"table = ec.exclusivity_table(atlas, concepts=[{concept!r}])",
        **shared,
    )


# -- what an edit there does ----------------------------------------------------------------------


def _erased(base: Base, choice: Choice) -> Choice:
    """Return the edit of this figure: the chosen concepts, or the first one, taken out of all layers."""
    concepts = choice.concepts or base.facts.classes[:1]
    strength = choice.strength if choice.strength else base.facts.strength
    own = choice.own if not choice.keeps else ()
    return replace(
        choice, mode=ERASE, null=FROM_NOTHING, concepts=concepts, strength=strength, own=own,
        layers=base.facts.layers, everywhere=True,
    )  # fmt: skip


def _effect(base: Base, choice: Choice) -> None:
    edit = _erased(base, choice)
    ways = layer_tables.groups_of(base)
    controls.ready("by", list(ways), next(iter(ways)))
    by = st.segmented_control(
        "Divide the layers",
        list(ways),
        key="by",
        persist_state="session",
        required=True,
    )
    groups = ways.get(by or "") or next(iter(ways.values()))
    probes = layer_tables.effect_probes(base, edit)
    if not choice.concepts:
        st.info(f"No concept is chosen under “Edit”; shown for {edit.concepts[0]}.")
    rest = len(probes) - len(edit.concepts)
    frame.heading(f"{describe_edit(edit)}: in one part of the layers at a time", text.HOW["effect"])
    table: pd.DataFrame = _run(layer_tables.effect_steps(base, edit, groups))
    names = list(dict.fromkeys(table["group"]))
    sides = {side: _means(table[table["erased"] == side], names) for side in (True, False)}
    mine, others = sides[True], sides[False]
    series = [
        Dots("erased, random edit of the same size", 100 * mine["gaussian"], CONTROL, "diamond",
             100 * mine["gaussian_low"], 100 * mine["gaussian_high"]),
        Dots("others, random edit of the same size", 100 * others["gaussian"], CONTROL, "diamond-open"),
        Dots("erased", 100 * mine["score"], LOSS, "circle"),
        Dots(f"others (mean of {rest})", 100 * others["score"], EDITED, "square"),
    ]  # fmt: skip
    unit = "Exact recall (%)" if base.of_text else "Accuracy (%)"
    frame.figure(
        "effect",
        dots(
            names,
            series,
            row="Edited in",
            value=unit,
            lines=[
                ("base, erased", 100 * float(mine["base"][0]), LOSS),
                ("base, others", 100 * float(others["base"][0]), BASE),
            ],
            span=(-2, 103),
        ),
        text=f"{describe_edit(edit)}: in one part of the layers at a time",
        how=text.HOW["effect"],
        words=text.say_effect(names, mine, others),
        numbers=table,
        code=_effect_code(edit, groups, probes, base),
        **_shared(base, edit),
    )
    _restrict(edit, groups)


def _means(table: pd.DataFrame, names: list[str]) -> dict[str, np.ndarray]:
    columns = ["score", "base", "gaussian", "gaussian_low", "gaussian_high"]
    mean = table.groupby("group")[columns].mean().reindex(names)
    return {column: mean[column].to_numpy() for column in columns}


def _effect_code(
    edit: Choice, groups: dict[str, tuple[str, ...]], probes: tuple[str, ...], base: Base
) -> str:
    some = (
        "some = sample\n"
        if len(probes) == len(base.facts.classes)
        else f"some = ec.Subject(sample.model, sample.concepts.subset({list(probes)!r}), sample.task)\n"
    )
    places = {"all layers": list(base.facts.layers)} | {
        name: list(members) for name, members in groups.items()
    }
    return (
        f"{some}groups = {places!r}\n"
        f"table = ec.layer_effects(some, atlas, erase={edit.strengths!r}, groups=groups, "
        f"scaling={edit.scaling!r}, controls={layer_tables.SHAMS})"
    )


def _restrict(edit: Choice, groups: dict[str, tuple[str, ...]]) -> None:
    st.markdown("##### Use it")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            "Edit only in", list(groups), key=f"_only {len(groups)}", placeholder="Choose one or more parts"
        )
        pressed = st.button(
            "Use only these layers in Live", icon=":material/bolt:", type="primary", disabled=not chosen,
            key="to_live",
        )  # fmt: skip
    if pressed:
        wanted = {layer for name in chosen for layer in groups[name]}
        layers = tuple(layer for layer in edit.layers if layer in wanted)
        send_to_live(replace(edit, layers=layers, everywhere=layers == edit.layers))


# -- what is covered ------------------------------------------------------------------------------


def _coverage(base: Base, choice: Choice) -> None:
    table = layer_tables.coverage(base)
    covered = int(table["covered"].sum())
    left = table[~table["covered"]]
    frame.heading("Covered and skipped layers", text.HOW["coverage"])
    reasons = left.groupby("reason").size().sort_values(ascending=False)
    st.markdown(
        f"**{covered}** layers hold engrams, **{len(left)}** do not. "
        + "; ".join(f"{count} × {reason}" for reason, count in list(reasons.items())[:6])
    )
    frame.table(
        "coverage",
        table,
        text="Covered and skipped layers",
        how=text.HOW["coverage"],
        words=f"{covered} of {len(table)} layers hold engrams; every other one is named with its reason.",
        code="table = atlas.coverage  # a list of LayerInfo",
        **_shared(base, choice),
    )
