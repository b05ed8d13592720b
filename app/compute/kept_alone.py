"""Sufficiency layer by layer: concepts kept alone in one part of the layers at a time, in portions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import pandas as pd

import engram_core as ec
from engram_core.measuring.kept_alone import ALL_LAYERS

from ..choice.choice import Choice
from ..server.base import Base, pausing
from ..server.turns import Report
from .criteria import Selection, subject_of

__all__ = ["ALL_LAYERS", "Kept", "kept_of", "kept_steps"]

_SETS, _OTHERS = 6, 6  # kept, and scored beside each, where a model has more concepts than are all measured
_PLACES = 30  # layers up to which each is asked by itself


@dataclass(frozen=True)
class Kept:
    """What is measured.

    Attributes:
        concepts: each is kept alone.
        others: concepts scored beside each, drawn at random; None for all.
        places: parts of the layers by name, all together first.
        blocks: whether the parts are blocks, because the layers are too many.
    """

    concepts: tuple[str, ...]
    others: int | None
    places: dict[str, tuple[str, ...]]
    blocks: bool


def kept_of(choice: Choice, chosen: Selection) -> Kept:
    """Return what is measured: everything of a small model, a stated part of a large one."""
    blocks = len(choice.layers) > _PLACES
    parts: dict[str, tuple[str, ...]] = {layer: (layer,) for layer in choice.layers}
    if blocks:
        parts = ec.layer_groups(choice.layers, kinds=["blocks"]) or parts
    names = chosen.edited if chosen.every else chosen.edited[:_SETS]
    places = {ALL_LAYERS: choice.layers} | parts
    return Kept(names, None if chosen.every else _OTHERS, places, blocks)


def kept_steps(
    base: Base, choice: Choice, chosen: Selection
) -> Iterator[tuple[float, str, pd.DataFrame | None]]:
    """Keep concepts alone in one part of the layers at a time; yields share done, part, and the table.

    The table is that of `ec.sufficiency_by_layer`, for sets of one concept and both null states.
    """
    atlas, kept = base.variant(choice.power, choice.clip), kept_of(choice, chosen)
    subject = subject_of(base, chosen.probed)
    keys: dict[str, Hashable] = {
        name: ("kept", atlas.sharpness, kept.concepts, kept.others, chosen.probed, members)
        for name, members in kept.places.items()
    }

    def make(name: str, report: Report) -> pd.DataFrame:
        return ec.sufficiency_by_layer(
            pausing(base, subject, report), atlas, concepts=kept.concepts,
            groups={name: kept.places[name]}, whole=False, others=kept.others, progress=report,
        )  # fmt: skip

    for share, doing, found in base.remembered.each_in_turns(keys, make, "Keeping single concepts in"):
        # The same layers may go by another name where others were chosen.
        tables = [table.assign(layer=name) for name, table in found.items()]
        yield share, doing, pd.concat(tables, ignore_index=True) if share == 1 else None
