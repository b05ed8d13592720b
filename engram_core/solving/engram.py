"""A concept's engram ``E_c = W Σ_c Σ†``, and the arithmetic of engrams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import DataError, EngramError
from ..numerics.precision import exactly_all
from .filters import Sharpness
from .trace import Trace

if TYPE_CHECKING:
    from .solved import SolvedAtlas

__all__ = ["Engram", "engram_matrix"]


def engram_matrix(matrix: Tensor, trace: Trace, sharpness: Sharpness, strength: float = 1.0) -> Tensor:
    """Return the dense edit ``strength · W P^f``, shape (groups, out, D), in the type of `matrix`.

    Args:
        matrix: ``[W | b]``, (groups, out, D).
        trace: the concept in the layer's source.
        sharpness: the filter on its exclusivities.
        strength: α.
    """
    if sharpness.plain and trace.folded:
        found = trace.spectrum.project(matrix, trace.moment)
        return found if strength == 1.0 else strength * found
    rows, duals, mu = trace.pair(sharpness)
    response = matrix @ rows.to(matrix.dtype).mT
    weights = strength if mu is None else sharpness.weights(mu, strength).unsqueeze(-2).to(matrix.dtype)
    return (response * weights) @ duals.to(matrix.dtype)


@exactly_all
class Engram:
    """A linear combination of the concepts of one atlas: adds, subtracts and scales like a vector."""

    def __init__(self, atlas: SolvedAtlas, coefficients: Mapping[str, float]):
        self.atlas = atlas
        self.coefficients = {name: float(value) for name, value in coefficients.items()}

    def __repr__(self) -> str:
        terms = " + ".join(f"{value:g}·{name!r}" for name, value in self.coefficients.items())
        return f"Engram({terms or '0'})"

    @property
    def layers(self) -> list[str]:
        """Names of the layers it has, in forward order."""
        return self.atlas.layers

    def __add__(self, other: Engram) -> Engram:
        if not isinstance(other, Engram):
            return NotImplemented
        if other.atlas is not self.atlas:
            raise EngramError(
                "Engrams of two atlases do not add: they were taken against different totals. "
                "Record all concepts together and extract them once."
            )
        names = [*self.coefficients, *(n for n in other.coefficients if n not in self.coefficients)]
        return Engram(
            self.atlas, {n: self.coefficients.get(n, 0.0) + other.coefficients.get(n, 0.0) for n in names}
        )

    def __mul__(self, factor: float) -> Engram:
        return Engram(self.atlas, {n: v * float(factor) for n, v in self.coefficients.items()})

    __rmul__ = __mul__

    def __neg__(self) -> Engram:
        return self * -1.0

    def __sub__(self, other: Engram) -> Engram:
        return self + -other if isinstance(other, Engram) else NotImplemented

    def matrix(self, layer: str) -> Tensor:
        """Return the engram with its bias column, (groups, out, D)."""
        self.atlas.linear_map(layer)
        total: Tensor | None = None
        for concept, strength in self.coefficients.items():
            part = self.atlas.dense(layer, concept, strength)
            total = part.clone() if total is None else total + part  # the part itself is kept by the atlas
        return torch.zeros_like(self.atlas.matrix(layer)) if total is None else total

    def weight(self, layer: str) -> Tensor:
        """Return the dense ΔW in the shape of the layer's ``.weight`` (of its part, in attention)."""
        return self.atlas.linear_map(layer).split(self.matrix(layer))[0]

    def bias(self, layer: str) -> Tensor | None:
        """Return the bias part, shape (out,), or None if the layer has no bias."""
        return self.atlas.linear_map(layer).split(self.matrix(layer))[1]

    def factors(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return ``(left, right)`` with ``left @ right`` the engram, bias column included.

        Shapes (out, r) and (r, in); for grouped convolutions stacks (groups, out / groups, r) and
        (groups, r, in). Where the dense matrix is the smaller form, one factor is an identity.
        """
        lefts, rights = [], []
        matrix = self.atlas.matrix(layer)
        sharpness = self.atlas.sharpness
        for concept, strength in self.coefficients.items():
            trace = self.atlas.trace(layer, concept)
            if trace.folded and sharpness.plain:
                dense = self.atlas.dense(layer, concept, strength)
                wide = dense.shape[-2] > dense.shape[-1]
                eye = torch.eye(min(dense.shape[-2:]), dtype=dense.dtype, device=dense.device)
                eye = eye.expand(dense.shape[0], -1, -1)
                left, right = (dense, eye) if wide else (eye, dense)
            else:
                rows, right, mu = trace.pair(sharpness)
                weights = strength if mu is None else sharpness.weights(mu, strength).unsqueeze(-2)
                left = (matrix @ rows.to(matrix.dtype).mT) * weights
                left, right = left.to(matrix.dtype), right.to(matrix.dtype)
            lefts.append(left)
            rights.append(right)
        if not lefts:
            raise DataError("An engram of no concept has no factors.")
        left, right = torch.cat(lefts, -1), torch.cat(rights, -2)
        return (left[0], right[0]) if left.shape[0] == 1 else (left, right)

    def norm(self, layer: str) -> float:
        """Return the Frobenius norm ``‖E‖`` in a layer, bias column included."""
        left, right = (t if t.ndim == 3 else t.unsqueeze(0) for t in self._small_factors(layer))
        if left is right:  # a dense matrix given as such
            return float(torch.linalg.vector_norm(left))
        gram = (left.double().mT @ left.double()) * (right.double() @ right.double().mT)
        return float(gram.sum().clamp(min=0).sqrt())

    def _small_factors(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return the factors, or the dense matrix twice where that is the smaller form."""
        linear_map = self.atlas.linear_map(layer)
        rank = 0
        for concept in self.coefficients:
            trace = self.atlas.trace(layer, concept)
            rank += linear_map.width if trace.folded else trace.rows.shape[-2]
        out = linear_map.outputs // linear_map.groups
        if rank * (out + linear_map.width) >= out * linear_map.width:
            dense = self.matrix(layer)
            return dense, dense
        return self.factors(layer)

    def rank(self, layer: str) -> int:
        """Return an upper bound of the engram's rank in a layer, as its numbers of rows allow."""
        linear_map = self.atlas.linear_map(layer)
        bound = 0
        for concept in self.coefficients:
            trace = self.atlas.trace(layer, concept)
            bound += (
                min(linear_map.width, int(trace.spectrum.rank.max()))
                if trace.folded
                else trace.rows.shape[-2]
            )
        return min(bound, linear_map.width, linear_map.outputs // linear_map.groups)
