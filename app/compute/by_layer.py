"""What each layer holds and what editing there alone does, in portions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

import engram_core as ec

from ..choice.choice import Choice
from ..server.base import Base, pausing
from ..server.turns import Report
from .criteria import selection, subject_of

__all__ = [
    "coverage",
    "effect_probes",
    "effect_steps",
    "exclusivity_steps",
    "groups_of",
    "shown_concepts",
    "spectrum",
    "table_steps",
]

SHAMS = 2
"""Seeds of the control of every group of layers."""

_SHOWN = 24  # concepts in a heatmap of a large model
_OTHERS = 12  # concepts scored beside the erased ones, in a large model


def shown_concepts(base: Base, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the concepts of the heatmaps: all of a small model, of a large one the chosen and some drawn."""
    every = base.facts.classes
    return every if len(every) <= _SHOWN else selection(base.facts, chosen).probed


def table_steps(
    base: Base, choice: Choice, names: tuple[str, ...]
) -> Iterator[tuple[float, str, pd.DataFrame | None]]:
    """Yield the share done and the layer; at the end the table of `ec.layer_table`."""
    atlas = base.variant(choice.power, choice.clip)
    keys = {layer: ("layers", atlas.sharpness, names, layer) for layer in atlas.layers}

    def make(layer: str) -> pd.DataFrame:
        return ec.layer_table(atlas, layers=[layer], concepts=names)

    for share, doing, found in base.remembered.each(keys, make, "Reading"):
        yield share, doing, pd.concat(found.values(), ignore_index=True) if share == 1 else None


def spectrum(base: Base, layer: str) -> tuple[pd.DataFrame, float, str]:
    """Return the spectrum of a layer's inputs (see `Atlas.spectra`), the cut, and how it was solved."""

    def make() -> tuple[pd.DataFrame, float, str]:
        solved = base.atlas.spectrum(layer)
        return base.atlas.spectra([layer]), float(solved.threshold.max()), solved.form

    return base.remembered.made(("spectrum", layer), make)


def exclusivity_steps(
    base: Base, concept: str, layers: tuple[str, ...]
) -> Iterator[tuple[float, str, dict[str, np.ndarray]]]:
    """Yield the share done, the layer, and exclusivities (descending) per layer so far."""

    def make(layer: str) -> np.ndarray:
        table = ec.exclusivity_table(base.atlas, layers=[layer], concepts=[concept])
        return np.sort(table["mu"].to_numpy())[::-1]

    return base.remembered.each({layer: ("exclusivity", concept, layer) for layer in layers}, make, "Reading")


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


def effect_steps(
    base: Base, choice: Choice, groups: dict[str, tuple[str, ...]], seeds: int | None = None
) -> Iterator[tuple[float, str, pd.DataFrame | None]]:
    """Erase the chosen concepts in one group at a time; yield share done, group, and at the end the table.

    The table is that of `ec.layer_effects`, with Gaussian shams of so many seeds, `SHAMS` of them unless
    more are asked for; "all layers" is the first group.
    """
    atlas = base.variant(choice.power, choice.clip)
    probes = effect_probes(base, choice)
    subject = subject_of(base, probes)
    before = {name: base.scores[name] for name in probes}
    places = {"all layers": base.facts.layers} | groups
    same = (atlas.sharpness, choice.scaling, tuple(choice.strengths.items()), probes)
    count = seeds or SHAMS
    keys = {name: ("effects", *same, members, count) for name, members in places.items()}

    def make(name: str, report: Report) -> pd.DataFrame:
        return ec.layer_effects(
            pausing(base, subject, report), atlas, erase=choice.strengths, groups={name: places[name]},
            scaling=choice.scaling, controls=count, base=before, progress=report,
        )  # fmt: skip

    for share, doing, found in base.remembered.each_in_turns(keys, make, "Erasing in"):
        # The same layers may go by another name where the model was divided in another way.
        tables = [table.assign(group=name) for name, table in found.items()]
        yield share, doing, pd.concat(tables, ignore_index=True) if share == 1 else None


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
