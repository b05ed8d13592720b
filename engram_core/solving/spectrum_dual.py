"""Σ† by way of ``K = X Xᵀ``, (groups, N, N): for totals of fewer rows than width (docs/science.md section 3).

``K = V diag(λ) Vᵀ`` has the non-zero spectrum of ``Σ = XᵀX`` under the same cut, and ``Σ† = Xᵀ (K†)² X``, so
that no D × D matrix is ever formed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import EngramError
from ..numerics.eigen import eigh, eigvalsh, gram
from ..recording.statistics import Statistics, homogeneous_rows
from .filters import above_cut

__all__ = ["DualForm"]


class DualForm:
    """The total's rows ``X``, (groups, N, D), with ``K`` and ``K†``.

    Args:
        rows: X in the type of the recording; None if a file did not keep them.
        cut: eigenvalues at or below ``cut · λ_max`` count as zero.
        places: where the rows of every concept are among those of the total.
        eigenvalues: λ, descending, if they are known.
    """

    name = "dual"

    def __init__(
        self,
        rows: Tensor | None,
        cut: float,
        *,
        places: Mapping[str, slice] | None = None,
        eigenvalues: Tensor | None = None,
    ):
        self._held = rows
        self._cut = cut
        self._places = dict(places or {})
        self.known_eigenvalues = eigenvalues
        self._solution: tuple[Tensor, Tensor] | None = None

    @classmethod
    def decompose(cls, parts: Mapping[str, Statistics], *, bias: bool, cut: float) -> DualForm:
        """Return the solved total of statistics that are all kept as rows.

        Args:
            parts: of every concept; without a bias they come to hold slices of the total's rows.
            bias: whether rows carry the column of ones.
            cut: see the class.
        """
        start = 0
        each: list[Tensor] = []
        places: dict[str, slice] = {}
        for name, s in parts.items():
            each.append(homogeneous_rows(s.rows(), bias))
            places[name] = slice(start, start + s.count)
            start += s.count
        rows = torch.cat(each, 1) if len(each) > 1 else each[0]
        if not bias:
            for name, s in parts.items():
                if s.dtype == rows.dtype:
                    # The same rows, held once: a recording and its atlas would double the memory.
                    s.chunks = [rows[:, places[name]]]
        form = cls(rows, cut, places=places)
        form._solve()
        return form

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], cut: float) -> DualForm:
        """Return what `state` described; nothing is solved."""
        return cls(tensors.get("total"), cut, eigenvalues=tensors["eigenvalues"])

    def state(self, *, total: bool) -> dict[str, Tensor]:
        """Return the tensors that `restore` needs beside the eigenvalues; the rows only with `total`."""
        if not total or self._held is None:
            return {}
        return {"total": self._held.clone()}  # files hold no two names of one memory

    @property
    def _rows(self) -> Tensor:
        if self._held is None:
            raise EngramError(
                "This atlas was read from a file, which keeps its concepts but not the rows of the total. "
                "Extract it again from the recording to place other concepts in it."
            )
        return self._held

    @property
    def eigenvalues(self) -> Tensor:
        """λ, descending, (groups, N) float64, those cut included."""
        if self.known_eigenvalues is None:
            products = gram(self._rows) if self._solution is None else self._solution[0]
            self.known_eigenvalues = eigvalsh(products).flip(-1)
        return self.known_eigenvalues

    def _solve(self) -> tuple[Tensor, Tensor]:
        """Return ``K`` and ``K†``, (groups, N, N) float64; solved again if they were let go."""
        if self._solution is None:
            products = gram(self._rows)
            inverse = self._full_rank_inverse(products)
            if inverse is None:
                values, vectors = eigh(products)
                self.known_eigenvalues = values.flip(-1)
                vectors, reciprocal = above_cut(values, vectors, self._cut)
                inverse = gram(vectors * reciprocal.sqrt().unsqueeze(-2))
            self._solution = products, inverse
        return self._solution

    def let_go(self) -> None:
        """Drop ``K`` and ``K†``; whoever asks for more has them solved again, once."""
        self._solution = None

    def _full_rank_inverse(self, products: Tensor) -> Tensor | None:
        """Invert the Gram matrix by Cholesky if the cut provably removes nothing; else None.

        Several times cheaper than the decomposition, and the same answer: with every eigenvalue
        above the cut the pseudo-inverse is the inverse.

        Returns:
            The inverse, or None.
        """
        if self._cut == 0:
            return None
        factor, failed = torch.linalg.cholesky_ex(products)
        if bool(failed.any()):
            return None  # rows that are equal, as those of sentences that begin alike, end here
        norm = torch.linalg.matrix_norm
        # Bounds of the largest eigenvalue: from above, from below (a diagonal element), and tight from above,
        # which costs a product. A language model's first token is so long that the second one often decides.
        if not self._cut_is_below(products, torch.minimum(norm(products), norm(products, torch.inf))):
            if not self._cut_is_below(products, products.diagonal(dim1=-2, dim2=-1).amax(-1)):
                return None
            if not self._cut_is_below(products, norm(products @ products).sqrt()):
                return None
        return torch.cholesky_inverse(factor)

    def _cut_is_below(self, products: Tensor, largest: Tensor) -> bool:
        """Whether every eigenvalue is above ``cut · largest``: the shifted matrix has a Cholesky factor."""
        shifted = products.clone()
        shifted.diagonal(dim1=-2, dim2=-1).sub_(self._cut * largest.unsqueeze(-1))
        return not bool(torch.linalg.cholesky_ex(shifted).info.any())

    # -- products -------------------------------------------------------------------------------

    def times_pinv(self, rows: Tensor) -> Tensor:
        """Return ``rows · Σ†`` for rows (groups, n, D) float64."""
        base, inverse = self._rows.double(), self._solve()[1]
        return ((rows @ base.mT) @ inverse @ inverse) @ base

    def inside(self, rows: Tensor) -> Tensor:
        """Return rows (groups, n, D) float64 projected onto the kept directions."""
        base = self._rows.double()
        return ((rows @ base.mT) @ self._solve()[1]) @ base

    def project(self, matrix: Tensor, moment: Tensor) -> Tensor:
        """Return ``W Σ_c Σ†`` in the type of `matrix`."""
        return self.times_pinv(matrix.double() @ moment).to(matrix.dtype)

    @property
    def pinv_root(self) -> None:
        """None: concepts of few rows have smaller factors of their own."""
        return None

    def combined(self, shares: Tensor) -> Tensor:
        """Return the combinations ``shares · X`` of the total's rows, (groups, r, D)."""
        return shares @ self._rows

    def part(self, name: str) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return a concept of this total, or None if it is none.

        Returns:
            Its rows ``F`` (groups, r, D); ``V_c diag(1/λ) Vᵀ`` (groups, r, N) in their type, which combines
            the rows of the total to its duals; ``V_c V_cᵀ`` (groups, r, r) float64.
        """
        place = self._places.get(name)
        if place is None:
            return None
        rows, (products, inverse) = self._rows, self._solve()
        mine = inverse[:, place]
        # V_c V_cᵀ from the float64 Gram matrix: through float32 duals it would be off by up to 2e-3.
        return rows[:, place], mine.to(rows.dtype, copy=True), mine @ products[:, place].mT
