"""How alike engrams are: cosines of all concepts by the Frobenius inner product, from low-rank factors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..numerics.precision import exactly
from ..progress import Progress, Step, Steps, drain
from .choosing import chosen_concepts
from .engram import engram_matrix

if TYPE_CHECKING:
    from .solved import SolvedAtlas

__all__ = ["EngramCosines", "engram_cosines", "engram_cosines_steps"]


@dataclass(frozen=True)
class EngramCosines:
    """Cosines between engrams, each taken as one long vector.

    Attributes:
        cosines: (concepts, concepts), in [−1, 1]; 0 in the rows of an engram that is zero.
        norms: ``‖E_c‖`` over the layers together, (concepts,).
        concepts: names.
        layers: the layers that were summed over.
    """

    cosines: np.ndarray
    norms: np.ndarray
    concepts: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def matrix(self) -> np.ndarray:
        """One row per concept with the cosines as inner products: unit engrams, rotated; for `project`."""
        values, vectors = np.linalg.eigh(self.cosines)
        return vectors * np.sqrt(values.clip(0))

    def table(self) -> pd.DataFrame:
        """Return concept, other, cosine: one row per pair, both orders and the diagonal."""
        count = len(self.concepts)
        return pd.DataFrame(
            {
                "concept": np.repeat(self.concepts, count),
                "other": np.tile(self.concepts, count),
                "cosine": self.cosines.reshape(-1),
            }
        )

    def nearest(self) -> pd.DataFrame:
        """Return for every concept the most similar other: concept, nearest, cosine, norm."""
        others = self.cosines.copy()
        np.fill_diagonal(others, -np.inf)
        best = others.argmax(1)
        alone = len(self.concepts) == 1
        return pd.DataFrame(
            {
                "concept": self.concepts,
                "nearest": [""] if alone else [self.concepts[i] for i in best],
                "cosine": [np.nan] if alone else others.max(1),
                "norm": self.norms,
            }
        )


@exactly
def engram_cosines(
    atlas: SolvedAtlas,
    layer: str | None = None,
    *,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> EngramCosines:
    """Return the cosine between the engrams of every two concepts.

    Args:
        atlas: the engrams.
        layer: one layer; None: inner products and norms summed over all layers.
        concepts: whose; default all.
        progress: called with (done, total, text) after every layer.

    Raises:
        UnknownNameError: for a layer or concept that is not there.
    """
    return drain(engram_cosines_steps(atlas, layer, concepts=concepts), progress)


@exactly
def engram_cosines_steps(
    atlas: SolvedAtlas, layer: str | None = None, *, concepts: Iterable[str] | None = None
) -> Steps[EngramCosines]:
    """Do what `engram_cosines` does in steps, a layer in each; arguments and errors are the same."""
    names = tuple(chosen_concepts(atlas, concepts))
    layers = tuple(atlas.layers) if layer is None else (layer,)
    total = np.zeros((len(names), len(names)))
    for done, name in enumerate(layers):
        yield Step(done, len(layers), f"comparing engrams in {name}")
        total += _inner(atlas, name, names).cpu().numpy()
    yield Step(len(layers), len(layers), "compared")
    norms = np.sqrt(np.diag(total).clip(0))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    cosines = ((total + total.T) / 2 * np.outer(scale, scale)).clip(-1, 1)
    np.fill_diagonal(cosines, (norms > 0).astype(float))
    return EngramCosines(cosines, norms, names, layers)


def _inner(atlas: SolvedAtlas, layer: str, names: tuple[str, ...]) -> Tensor:
    """Return ``⟨E_a, E_b⟩`` in one layer, (concepts, concepts) float64."""
    matrix = atlas.matrix(layer)
    traces = [atlas.trace(layer, name) for name in names]
    dense = matrix.shape[-2] * matrix.shape[-1]
    if all(not trace.folded for trace in traces):
        ranks = [trace.rows.shape[-2] for trace in traces]
        # The two Gram matrices of the factors against the vectors themselves: the smaller product.
        if sum(ranks) ** 2 * sum(matrix.shape[-2:]) < len(names) ** 2 * dense or sum(ranks) < 2048:
            return _inner_of_pairs(atlas, layer, names, ranks)
    stacked = torch.stack(
        [engram_matrix(matrix, trace, atlas.sharpness).double().reshape(-1) for trace in traces]
    )
    return stacked @ stacked.mT


def _inner_of_pairs(atlas: SolvedAtlas, layer: str, names: tuple[str, ...], ranks: list[int]) -> Tensor:
    """Sum ``(LᵀL) ∘ (R Rᵀ)`` over each pair of concepts' rows: no engram is ever multiplied out."""
    matrix, sharpness = atlas.matrix(layer).double(), atlas.sharpness
    lefts, rights = [], []
    for name in names:
        rows, duals, mu = atlas.trace(layer, name).pair(sharpness)
        left = matrix @ rows.double().mT
        lefts.append(left if mu is None else left * sharpness.weights(mu, 1.0).double().unsqueeze(-2))
        rights.append(duals.double())
    left, right = torch.cat(lefts, -1), torch.cat(rights, -2)
    gram = ((left.mT @ left) * (right @ right.mT)).sum(0)
    owner = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(ranks)).to(gram.device)
    half = gram.new_zeros(len(names), gram.shape[1]).index_add_(0, owner, gram)
    return gram.new_zeros(len(names), len(names)).index_add_(0, owner, half.mT.contiguous())
