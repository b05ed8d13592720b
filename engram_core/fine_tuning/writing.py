"""Which memories did a fine-tune write? The share of each concept's engram that is new, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..atlas import Atlas
from ..errors import DataError
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Recent, Steps, drain, each
from ..solving.choosing import chosen_concepts
from ..solving.engram import engram_matrix

__all__ = ["written_shares", "written_shares_steps"]


def written_shares(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how much of each concept's engram the fine-tune wrote (docs/science.md section 10).

    Args:
        atlas: engrams of a fine-tune (`extract` with ``base=``).
        layers: which layers (see `layers.select_layers`).
        concepts: which concepts; default all.
        progress: called with (done, total, text) after every layer.

    Returns:
        layer, concept, ``written = ‖ΔW P_c‖``, ``whole = ‖W₁ P_c‖``, and ``share``, their ratio: near zero
        for a memory that the base already had, the larger the more is new. It can exceed 1, where the
        fine-tune worked against the base.

    Raises:
        DataError: if these are not the engrams of a fine-tune.
        UnknownNameError: for a layer or concept that the atlas does not have.
    """
    return drain(written_shares_steps(atlas, layers=layers, concepts=concepts), progress)


@exactly
def written_shares_steps(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    memory: Memory | None = None,
) -> Steps[dict[str, pd.DataFrame]]:
    """Do what `written_shares` does in steps, a layer in each."""
    if atlas.pretrained is None:
        raise DataError(
            "These engrams are parts of whole weights, so that nobody can say what a fine-tune wrote. "
            "Extract with base=…, the model that it started from."
        )
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    keys = [(layer, ("written", atlas.sharpness, tuple(names), layer)) for layer in chosen]

    def make(layer: str) -> pd.DataFrame:
        weights, rows = atlas.weights(layer), []
        for name in names:
            written = atlas[name].norm(layer)
            whole = float(engram_matrix(weights, atlas.trace(layer, name), atlas.sharpness).norm())
            rows.append((layer, name, written, whole, written / whole if whole else float("nan")))
        return pd.DataFrame(rows, columns=["layer", "concept", "written", "whole", "share"])

    found = yield from each(memory or Recent(), keys, make, what="reading")
    return pd.concat(found.values(), ignore_index=True)
