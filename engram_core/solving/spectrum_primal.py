"""Σ† by way of ``Σ = XᵀX = V diag(λ) Vᵀ``, (groups, D, D): for totals of at least as many rows as width."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..numerics.eigen import eigh
from .filters import above_cut

__all__ = ["PrimalForm"]


class PrimalForm:
    """The decomposed total: what the cut keeps of ``V`` and ``1/λ``.

    Args:
        eigenvalues: λ, descending, (groups, D) float64, those cut included.
        vectors: V, (groups, D, k).
        reciprocals: 1/λ, (groups, k), 0 where the cut removes one that another group keeps.
    """

    name = "primal"

    def __init__(self, eigenvalues: Tensor, vectors: Tensor, reciprocals: Tensor):
        self.eigenvalues = self.known_eigenvalues = eigenvalues
        self._vectors, self._reciprocals = vectors, reciprocals

    @classmethod
    def decompose(cls, total: Tensor, *, cut: float) -> PrimalForm:
        """Return the solved total.

        Args:
            total: Σ, (groups, D, D) float64.
            cut: eigenvalues at or below ``cut · λ_max`` count as zero.
        """
        values, vectors = eigh(total)
        kept, reciprocals = above_cut(values, vectors, cut)
        return cls(values.flip(-1), kept.contiguous(), reciprocals.contiguous())  # lets go of what is cut

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], cut: float) -> PrimalForm:
        """Return what `state` described; nothing is solved."""
        return cls(tensors["eigenvalues"], tensors["vectors"], tensors["scale"])

    def state(self, *, total: bool) -> dict[str, Tensor]:
        """Return the tensors that `restore` needs beside the eigenvalues; `total` adds nothing here."""
        return {"vectors": self._vectors, "scale": self._reciprocals}

    def let_go(self) -> None:
        """Keep all: nothing here is made again at little cost."""

    # -- products -------------------------------------------------------------------------------

    def times_pinv(self, rows: Tensor) -> Tensor:
        """Return ``rows · Σ†`` for rows (groups, n, D) float64."""
        return ((rows @ self._vectors) * self._reciprocals.unsqueeze(-2)) @ self._vectors.mT

    def inside(self, rows: Tensor) -> Tensor:
        """Return rows (groups, n, D) float64 projected onto the kept directions."""
        kept = self._vectors * (self._reciprocals > 0).unsqueeze(-2)
        return (rows @ kept) @ kept.mT

    def project(self, matrix: Tensor, moment: Tensor) -> Tensor:
        """Return ``W Σ_c Σ†`` in the type of `matrix`, by the cheaper order of products.

        Only the product after which small eigenvalues are divided by needs float64. The columns of what
        it leaves, ``Σ_c V diag(1/λ)``, are at most ``cut^-½`` long (`Σ_c ≤ Σ`), and `V` is orthonormal.
        """
        outputs, width = matrix.shape[-2:]
        kept = self._reciprocals.shape[-1]
        if kept * width < outputs * (width + kept):
            loadings = (moment @ self._vectors) * self._reciprocals.unsqueeze(-2)
            return (matrix @ loadings.to(matrix.dtype)) @ self._vectors.mT.to(matrix.dtype)
        return self.times_pinv(matrix.double() @ moment).to(matrix.dtype)

    @property
    def pinv_root(self) -> Tensor:
        """``V diag(λ^-½)``, (groups, D, k): ``Σ†`` is this times its transpose."""
        return self._vectors * self._reciprocals.sqrt().unsqueeze(-2)

    def combined(self, shares: Tensor) -> Tensor:
        """Raise: the rows of the total are not kept in this form, and no trace is made of shares."""
        raise RuntimeError("the primal form keeps no rows of its total")

    def part(self, name: str) -> None:
        """Return None: concepts are found through their own statistics."""
        return None
