"""Sufficiency layer by layer: concepts kept alone in one part of the layers at a time."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

import engram_core as ec
from engram_core.measuring.kept_alone import ALL_LAYERS, sufficiency_by_layer_steps
from engram_core.progress import Steps

from ..choice.choice import Choice
from ..server.base import Base
from ..server.fair_lock import lock_each_step
from .criteria import Selection, subject_of

__all__ = ["ALL_LAYERS", "Kept", "kept_of", "measure_kept"]

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


def measure_kept(base: Base, choice: Choice, chosen: Selection) -> Steps[pd.DataFrame]:
    """Keep concepts alone in one part of the layers at a time.

    The table is that of `ec.sufficiency_by_layer`, for sets of one concept and both null states.

    Returns:
        The table of `ec.sufficiency_by_layer`.

    Yields:
        Where the work stands.
    """
    atlas, kept = base.variant(choice.power, choice.clip), kept_of(choice, chosen)
    work = sufficiency_by_layer_steps(
        subject_of(base, chosen.probed), atlas, concepts=kept.concepts, groups=kept.places, whole=False,
        others=kept.others, parts=base.parts, memory=base.remembered,
    )  # fmt: skip
    return (yield from lock_each_step(work))
