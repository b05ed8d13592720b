"""What each layer holds and what editing there alone does."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pandas as pd

import engram_core as ec
from engram_core.measuring.by_layer import layer_effects_steps
from engram_core.progress import Step
from engram_core.solving.tables import LayerSteps, exclusivity_table_steps, layer_table_steps

from ..choice.choice import Choice
from ..server.base import Base
from ..server.fair_lock import lock_each_step
from .criteria import selection, subject_of

__all__ = [
    "coverage",
    "effect_probes",
    "measure_effects",
    "measure_exclusivities",
    "groups_of",
    "shown_concepts",
    "spectrum",
    "measure_table",
]

SHAMS = 2
"""Seeds of the control of every group of layers."""

_SHOWN = 24  # concepts in a heatmap of a large model
_OTHERS = 12  # concepts scored beside the erased ones, in a large model


def shown_concepts(base: Base, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Return whose heatmaps by layer are drawn: all, or of a large model the chosen and some others."""
    every = base.facts.classes
    return every if len(every) <= _SHOWN else selection(base.facts, chosen).probed


def measure_table(base: Base, choice: Choice, names: tuple[str, ...]) -> LayerSteps:
    """Measure the table of `ec.layer_table`, layer by layer."""
    atlas = base.variant(choice.power, choice.clip)
    return (yield from lock_each_step(layer_table_steps(atlas, concepts=names, memory=base.remembered)))


def spectrum(base: Base, layer: str) -> tuple[pd.DataFrame, float, str]:
    """Return the spectrum of a layer's inputs (see `Atlas.spectra`), the cut, and how it was solved."""

    def make() -> tuple[pd.DataFrame, float, str]:
        solved = base.atlas.spectrum(layer)
        return base.atlas.spectra([layer]), float(solved.threshold.max()), solved.form

    return base.remembered.made(("spectrum", layer), make)


def measure_exclusivities(
    base: Base, concept: str, layers: tuple[str, ...]
) -> Generator[Step[Any], None, dict[str, np.ndarray]]:
    """Find the exclusivities of a concept, descending, by layer."""
    table = yield from lock_each_step(
        exclusivity_table_steps(base.atlas, layers=layers, concepts=[concept], memory=base.remembered)
    )
    return {layer: np.sort(rows["mu"].to_numpy())[::-1] for layer, rows in table.groupby("layer", sort=False)}


def groups_of(base: Base) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the ways to divide the layers, by name; each maps groups to layers."""
    layers = base.facts.layers
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    found["one layer at a time"] = {layer: (layer,) for layer in layers}
    blocks = ec.layer_groups(layers, kinds=["blocks"])
    kinds = ec.layer_groups(layers, kinds=["parts", "projections"])
    if 1 < len(blocks) < len(layers):
        found["one block at a time"] = blocks
    if len(kinds) > 1:
        found["one kind of layer at a time"] = kinds
    # What is quick and legible comes first.
    return dict(sorted(found.items(), key=lambda item: abs(len(item[1]) - 10)))


def effect_probes(base: Base, choice: Choice) -> tuple[str, ...]:
    """Return the concepts that are scored: all of a small model, of a large one the erased and some drawn."""
    every = base.facts.classes
    if len(every) <= _SHOWN:
        return every
    drawn = [name for name in selection(base.facts, ()).probed if name not in choice.concepts]
    return (*choice.concepts, *drawn[:_OTHERS])


def measure_effects(
    base: Base, choice: Choice, groups: dict[str, tuple[str, ...]], seeds: int | None = None
) -> LayerSteps:
    """Erase the chosen concepts in one group at a time.

    The table is that of `ec.layer_effects`, with Gaussian shams of so many seeds, `SHAMS` of them unless
    more are asked for; "all layers" is the first group.

    Returns:
        The table of `ec.layer_effects`.

    Yields:
        Where the work stands, with the tables so far.
    """
    atlas = base.variant(choice.power, choice.clip)
    probes = effect_probes(base, choice)
    work = layer_effects_steps(
        subject_of(base, probes), atlas, erase=choice.strengths,
        groups={"all layers": base.facts.layers} | groups, scaling=choice.scaling, controls=seeds or SHAMS,
        base={name: base.scores[name] for name in probes}, parts=base.parts, memory=base.remembered,
    )  # fmt: skip
    return (yield from lock_each_step(work))


def coverage(base: Base) -> pd.DataFrame:
    """Return every layer of the model: whether it holds engrams, its shape, and if not, why."""
    rows = [
        {
            "layer": info.name or "(model)", "kind": info.kind, "covered": info.covered,
            "inputs": info.width, "outputs": info.outputs, "reason": info.reason,
        }
        for info in base.atlas.coverage
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"inputs": "Int64", "outputs": "Int64"})
