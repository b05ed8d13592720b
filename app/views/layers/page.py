"""Layers: where a memory lives, what a layer's inputs span, and what editing in some layers alone does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from ...choice.choice import Choice
from ...compute import by_layer as layer_tables
from ...figures.charts.colour_scale import Scale
from ...figures.charts.heatmap import grid, heatmap
from ...figures.charts.spectra import exclusivity_figure, spectrum_figure
from ...figures.words import layers as text
from ...figures.words.as_text import plain
from ...figures.words.options import option_word
from ...page import frame, parts, progress
from ...page.snippets import plain_atlas
from ...server.base import Base
from ...session.selection import selected_concept
from ..shared import controls
from . import effect as layers_effect

__all__ = ["page"]

PAGE = "layers"
_NOTES = 12  # that are shown
_DIRECTIONS = 48  # drawn per layer; the table has all


def page(base: Base) -> None:
    """Draw the tables of layers for a model."""
    frame.title("Where a memory lives", "", page=PAGE)
    controls.ready("look", text.LOOKS, text.LOOKS[0])
    look = st.segmented_control(
        "What to look at",
        text.LOOKS,
        format_func=option_word,
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
    draw = dict(zip(text.LOOKS, (_energy, _directions, _leak, layers_effect.draw, _coverage), strict=True))[
        look
    ]
    _notes(base)
    try:
        draw(base, choice)
    except EngramError as error:
        st.warning(plain(error))


def _notes(base: Base) -> None:
    """Say what makes the engrams of some layers less than they seem."""
    notes = base.atlas.notes
    if not notes:
        return
    with st.expander(f"{len(notes)} of the layers' inputs are dominated by a few directions"):
        for note in notes[:_NOTES]:
            st.caption(plain(note))
        if len(notes) > _NOTES:
            st.caption(f"And {len(notes) - _NOTES} more.")


def _table(base: Base, choice: Choice) -> tuple[tuple[str, ...], pd.DataFrame]:
    names = layer_tables.shown_concepts(base, choice.concepts)
    selected = selected_concept()
    if selected and selected not in names:
        names = layer_tables.shown_concepts(base, (*choice.concepts, selected))
    if len(names) < len(base.facts.classes):
        st.caption(
            f"{len(names)} of {len(base.facts.classes)} concepts: those chosen under “Current edit” first, "
            "then drawn at random (seed 0). The Python under “Export” has them all."
        )
    return names, progress.run(layer_tables.measure_table(base, choice, names))


def _wide(table: pd.DataFrame, column: str, base: Base, names: tuple[str, ...]) -> np.ndarray:
    return grid(table, column, base.facts.layers, names, row="layer")


# -- where it is ----------------------------------------------------------------------------------


def _energy(base: Base, choice: Choice) -> None:
    names, table = _table(base, choice)
    controls.ready("shade", text.SHADES, text.SHADES[0])
    shade = st.segmented_control("Colours", text.SHADES, key="shade", persist_state="session", required=True)
    values = _wide(table, "relative", base, names)
    ranks = _wide(table, "rank", base, names)
    log = shade != text.SHADES[1]
    name = f"Size of every engram, {text.SHADES[0 if log else 1]} colours"
    parts.part(PAGE, name, text.HOW["energy"], base, choice).figure(
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
        words=text.say_energy(table),
        numbers=table[["layer", "concept", "norm", "relative", "rank"]],
        code="table = ec.layer_table(atlas)",
        names=text.say_kinds(base.facts.layers),
    )


def _leak(base: Base, choice: Choice) -> None:
    names, table = _table(base, choice)
    leak, residue = (100 * _wide(table, column, base, names) for column in ("leak", "residue"))
    parts.part(PAGE, "Leakage bound", text.HOW["leak"], base, choice).figure(
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
        words=text.say_leak(table),
        numbers=table[["layer", "concept", "leak", "residue", "error"]],
        code="table = ec.layer_table(atlas)",
        names=text.say_kinds(base.facts.layers),
    )


# -- what the inputs span -------------------------------------------------------------------------


def _which(base: Base, choice: Choice) -> tuple[str, str]:
    left, right = st.columns(2)
    layers, classes = base.facts.layers, base.facts.classes
    controls.ready("lookat", layers, layers[0])
    controls.ready("which", classes, selected_concept() or next(iter(choice.concepts), classes[0]))
    with left:
        layer = st.selectbox("Layer", layers, key="lookat", persist_state="session")
    with right:
        concept = st.selectbox("Concept", classes, key="which", persist_state="session")
    return layer or layers[0], concept or classes[0]


def _directions(base: Base, choice: Choice) -> None:
    layer, concept = _which(base, choice)
    table, threshold, form = layer_tables.spectrum(base, layer)
    groups = table["group"].nunique()
    first = table[table["group"] == 0]
    name = f"Spectrum of what {layer} reads"
    parts.part(PAGE, name, text.HOW["spectrum"], base, choice).figure(
        "spectrum",
        spectrum_figure(first["eigenvalue"].to_numpy(), threshold),
        words=text.say_spectrum(first, threshold, form, groups),
        numbers=table,
        code=f"table = {plain_atlas(choice)}.spectra([{layer!r}])",
    )
    mu = progress.run(layer_tables.measure_exclusivities(base, concept, (layer,)))[layer]
    counts = base.atlas.counts
    share = counts[concept] / max(sum(counts.values()), 1)
    name = f"Directions of {concept} in {layer}: its own or shared"
    parts.part(PAGE, name, text.HOW["exclusivity"], base, choice).figure(
        "exclusivity",
        exclusivity_figure(mu[mu > text.FAINT], share),
        words=text.say_exclusivity(mu, concept, layer),
        numbers=pd.DataFrame({"direction": range(1, len(mu) + 1), "mu": mu}),
        code=_exclusivity_code(choice, concept, f", layers=[{layer!r}]"),
    )
    _by_layer(base, choice, concept)


def _exclusivity_code(choice: Choice, concept: str, layers: str) -> str:
    # A layer in groups has directions of each; on the page they are counted together.
    return (
        f"table = ec.exclusivity_table({plain_atlas(choice)}, concepts=[{concept!r}]{layers})\n"
        'table["direction"] = table.groupby("layer")["mu"].rank(method="first", ascending=False)'
    )


def _by_layer(base: Base, choice: Choice, concept: str) -> None:
    layers = base.facts.layers
    name = f"Directions of {concept}, layer by layer"
    part = parts.part(PAGE, name, text.HOW["by layer"], base, choice)
    found = progress.run(layer_tables.measure_exclusivities(base, concept, layers), key="every layer")
    every = [found[layer][found[layer] > text.FAINT] for layer in layers]
    most = min(max(len(mu) for mu in every), _DIRECTIONS)
    values = np.array([[*mu[:most], *[np.nan] * (most - len(mu))] for mu in every], float)
    part.figure(
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
        words=text.say_directions(layers, every, concept),
        numbers=pd.DataFrame(
            [
                (layer, place, value)
                for layer, mu in zip(layers, every, strict=True)
                for place, value in enumerate(mu, start=1)
            ],
            columns=["layer", "direction", "mu"],
        ),
        code=_exclusivity_code(choice, concept, ""),
        names=text.say_kinds(layers),
    )


# -- what is covered ------------------------------------------------------------------------------


def _coverage(base: Base, choice: Choice) -> None:
    table = layer_tables.coverage(base)
    covered = int(table["covered"].sum())
    left = table[~table["covered"]]
    part = parts.part(PAGE, "Covered layers", text.HOW["coverage"], base, choice)
    reasons = left.groupby("reason").size().sort_values(ascending=False)
    st.markdown(
        f"**{covered}** layers hold engrams, **{len(left)}** do not. "
        + "; ".join(f"{count:d} × {plain(reason)}" for reason, count in list(reasons.items())[:6])
    )
    part.table(
        "coverage",
        table,
        words=f"{covered} of {len(table)} layers hold engrams; every other one is named with its reason.",
        code=(
            "import pandas as pd\n\n"
            "table = pd.DataFrame(\n"
            "    [(i.name or '(model)', i.kind, i.covered, i.width, i.outputs, i.reason)\n"
            "     for i in atlas.coverage],\n"
            "    columns=['layer', 'kind', 'covered', 'inputs', 'outputs', 'reason'],\n)"
        ),
        names=text.say_kinds(base.facts.layers),
    )
