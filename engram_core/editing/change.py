"""What an edit comes to in every layer: factors, edited matrices, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..numerics.precision import exactly
from ..solving.engram import Engram, engram_matrix
from ..solving.solved import SolvedAtlas
from .edit import Edit

__all__ = ["Change", "LayerFactors", "edit_sizes", "layer_factors"]


@dataclass(frozen=True)
class Change:
    """An edit in numbers: ``W' = w₀ W − f_l Σ_c s_c E_c``, with the pretrained weights in the place of zero.

    Attributes:
        atlas: the engrams.
        layers: where it acts.
        taken: ``s_c`` of every concept that is taken away (negative: added).
        factors: ``f_l`` of every layer.
        keeps: ``w₀``: whether the layers start from their weights, and not empty (engrams of a fine-tune:
            not from the pretrained weights).
    """

    atlas: SolvedAtlas
    layers: tuple[str, ...]
    taken: dict[str, float]
    factors: dict[str, float]
    keeps: bool

    @property
    def acts(self) -> bool:
        """Whether any layer differs from the base's."""
        return bool(self.taken) or not self.keeps

    def matrix(self, layer: str) -> Tensor:
        """Return ``W'`` of a layer, (groups, out, D), float32 or float64."""
        return self._matrix(layer, self.factors[layer])

    def _matrix(self, layer: str, factor: float) -> Tensor:
        matrix = self.atlas.matrix(layer)
        edited = (self.atlas.weights(layer) if self.keeps else self.atlas.rest(layer)).clone()
        for concept, strength in self.taken.items():
            trace = self.atlas.trace(layer, concept)
            if trace.folded or 2 * trace.rows.shape[-2] >= min(matrix.shape[-2:]):
                edited -= factor * self.atlas.dense(layer, concept, strength)
            else:  # so few rows that keeping the product would cost more than to form it anew
                edited -= factor * engram_matrix(matrix, trace, self.atlas.sharpness, strength)
        return edited

    def size(self, layer: str) -> float:
        """Return ``‖W − W'‖`` of a layer, bias column included."""
        factor = abs(self.factors[layer])
        if not self.keeps:
            removed = self.atlas.weights(layer) - self._matrix(layer, 1.0)
            return factor * float(torch.linalg.vector_norm(removed))
        return factor * Engram(self.atlas, self.taken).norm(layer) if self.taken else 0.0


class LayerFactors:
    """The factors of edits that follow each other; all strengths times one number leave them as they are."""

    def __init__(self, atlas: SolvedAtlas):
        self._atlas = atlas
        self._last: tuple[Any, dict[str, float]] | None = None  # the last adaptive ones, and of what

    def factors(self, edit: Edit, taken: Mapping[str, float]) -> dict[str, float]:
        """Return `layer_factors` of an edit that takes away `taken`."""
        if edit.scaling == "plain" or not taken:
            return dict.fromkeys(edit.layers, 1.0)
        unit = 1.0 if self._atlas.sharpness.clip else max(abs(strength) for strength in taken.values())
        shares = tuple((name, strength / unit) for name, strength in taken.items())
        key = (edit.layers, edit.adaptive_power, shares)
        if self._last is None or self._last[0] != key:
            self._last = (key, layer_factors(self._atlas, edit))
        return dict(self._last[1])


@exactly
def layer_factors(atlas: SolvedAtlas, edit: Edit) -> dict[str, float]:
    """Return ``f_l`` of every layer of an edit: 1, or ``(rel_l / max rel)^p`` if it is adaptive."""
    taken = edit.taken(atlas.concepts)
    if edit.scaling == "plain" or not taken:
        return dict.fromkeys(edit.layers, 1.0)
    engram = Engram(atlas, taken)
    relative = {layer: engram.norm(layer) / (atlas.weight_norm(layer) or 1.0) for layer in edit.layers}
    largest = max(relative.values())
    return {layer: (r / largest) ** edit.adaptive_power if largest else 1.0 for layer, r in relative.items()}


@exactly
def edit_sizes(atlas: SolvedAtlas, edit: Edit) -> dict[str, float]:
    """Return the norm of what an edit takes away in every layer (keeping from nothing: of what it keeps)."""
    taken = edit.taken(atlas.concepts)
    factors = layer_factors(atlas, edit)
    engram = Engram(atlas, taken)
    return {layer: abs(factors[layer]) * engram.norm(layer) if taken else 0.0 for layer in edit.layers}
