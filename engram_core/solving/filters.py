"""What is fixed before anything is solved: the cut on eigenvalues, the filter on exclusivities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["FLOAT32_EPS", "Sharpness", "above_cut", "default_cut"]

FLOAT32_EPS = 1.1920929e-7
"""Relative spacing of float32: the noise floor of the default cut, whatever the data type."""


def default_cut(width: int) -> float:
    """Return the cut of docs/science.md section 3, as a fraction of the largest eigenvalue."""
    return width * FLOAT32_EPS


@dataclass(frozen=True)
class Sharpness:
    """The filter ``f(μ) = k μ^power`` on a concept's exclusivities, docs/science.md section 5.

    Attributes:
        power: 1 is the paper's engram; 1.5 to 2 spares what the concept shares with others.
        clip: limit strength × f(μ) to 1, so that no direction is removed more than once.
        gain: the factor ``k``. It multiplies the strength; with `clip`, a gain of 4 takes whole what
            the concept has more than a quarter of.
    """

    power: float = 1.0
    clip: bool = False
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise DataError(f"The gain of a filter must be a finite number above 0; found {self.gain}.")
        if not 0 < self.power <= 64:
            raise DataError(f"The sharpness power must be above 0 and at most 64; found {self.power}.")

    @property
    def plain(self) -> bool:
        """Whether this is the paper's engram, for which no exclusivity need be known."""
        return self.power == 1.0 and not self.clip and self.gain == 1.0

    def weights(self, mu: Tensor, strength: float) -> Tensor:
        """Return ``strength · f(μ) / μ`` per direction; directions without any share get 0."""
        wanted = abs(strength) * self.gain * mu.clamp(0, 1) ** self.power
        if self.clip:
            wanted = wanted.clamp(max=1.0)
        sign = -1.0 if strength < 0 else 1.0
        return torch.where(mu > 1e-12, sign * wanted / mu.clamp(min=1e-12), torch.zeros_like(mu))


def above_cut(values: Tensor, vectors: Tensor, cut: float) -> tuple[Tensor, Tensor]:
    """Return what the cut keeps of a decomposition.

    Args:
        values: λ, (groups, n) float64, ascending.
        vectors: V, (groups, n, n), in columns.
        cut: as a fraction of each group's largest eigenvalue.

    Returns:
        Eigenvectors (groups, n, k) and reciprocal eigenvalues (groups, k), 0 under the cut; k is the largest
        number that any group keeps.
    """
    kept = values > cut * values[..., -1:].clamp(min=0)
    kept &= values > 0
    reciprocal = torch.where(kept, values.clamp(min=torch.finfo(values.dtype).tiny).reciprocal(), 0.0)
    # Ascending: what every group cuts comes first, and is dropped instead of multiplied by zero.
    first = values.shape[-1] - int(kept.sum(-1).max())
    return vectors[..., first:], reciprocal[..., first:]
