"""The total's pseudo-inverse under the eigenvalue cut, and every concept's trace in it.

Everything is in row form: a source's rows are ``X`` (N × D), the total is ``Σ = XᵀX``. Shapes carry a leading
`groups` dimension. Which of two forms is the cheaper is decided here: `spectrum_primal` decomposes Σ (D × D),
`spectrum_dual` ``X Xᵀ`` (N × N).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import ConceptOutsideTotalError, DataError
from ..recording.statistics import Statistics, homogeneous_moment, homogeneous_rows, total_moment
from .filters import default_cut
from .spectrum_dual import DualForm
from .spectrum_primal import PrimalForm
from .trace import Trace

__all__ = ["Spectrum"]

# A concept inside the total has its exclusivities in [0, 1]; beyond this it is not inside.
_OUTSIDE = 1.0 + 1e-3
_LOST = 0.01  # share of a target's energy that the cut may take away


class Spectrum:
    """The decomposed total of one source: eigenvalues, what the cut keeps, and products with Σ†.

    Args:
        statistics: every group's statistics, concepts and background.
        bias: whether rows carry the column of ones.
        cut: eigenvalues at or below ``cut · λ_max`` count as zero; None for `default_cut`.
        least: fewest rows that make a total.

    Attributes:
        width: D, with the bias column.
        count: N, rows of the total.
        cut: the relative cut in force.
        dtype: type of the recorded rows.

    Raises:
        DataError: if there are too few rows, or the cut is no fraction.
    """

    def __init__(
        self, statistics: Mapping[str, Statistics], *, bias: bool, cut: float | None = None, least: int = 2
    ):
        parts = {name: s for name, s in statistics.items() if s.count}
        if not parts:
            raise DataError("No rows were recorded here; there is no total to decompose.")
        first = next(iter(parts.values()))
        self.bias = bias
        self.dtype = first.dtype
        self.width = first.columns + bias
        self.count = sum(s.count for s in parts.values())
        self.cut = default_cut(self.width) if cut is None else float(cut)
        if not 0 <= self.cut < 1:
            raise DataError(f"The cut is a fraction of the largest eigenvalue, in [0, 1); found {cut}.")
        if self.count < least:
            raise DataError(
                "The total holds a single row: there is nothing to tell it apart from. Record at least two."
            )
        self._solved: DualForm | PrimalForm
        if self.count < self.width and not any(s.folded for s in parts.values()):
            self._solved = DualForm.decompose(parts, bias=bias, cut=self.cut)
        else:
            self._solved = PrimalForm.decompose(total_moment(parts.values(), bias), cut=self.cut)

    @property
    def form(self) -> str:
        """``"dual"`` or ``"primal"``."""
        return self._solved.name

    def let_go(self) -> None:
        """Drop the N × N matrices of the dual form: with many layers they are most of an atlas's memory.

        Traces keep what they need. Whoever asks for more has it solved again, once.
        """
        self._solved.let_go()

    # -- eigenvalues ----------------------------------------------------------------------------

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Eigenvalues of the total, descending, (groups, min(N, D)) float64, those cut included."""
        return self._solved.eigenvalues.clamp(min=0)

    @property
    def threshold(self) -> Tensor:
        """The cut in the units of the eigenvalues, (groups,)."""
        return self.cut * self.eigenvalues[..., 0]

    @property
    def rank(self) -> Tensor:
        """Number of eigenvalues kept, (groups,) int."""
        return (self.eigenvalues > self.threshold.unsqueeze(-1)).sum(-1)

    def dominated(self) -> tuple[int, int, float] | None:
        """Say whether few directions are so strong that the cut takes most others for noise.

        One row that is thousands of times as long as the rest does that. Nothing is solved for the answer:
        where no eigenvalue was needed, the cut removed none.

        Returns:
            None, or of the first group that is so: how many directions are kept, how many the rows have
            beyond float64's own noise, and how many times the strongest is as strong as the first left out.
        """
        if self._solved.known_eigenvalues is None:
            return None
        for values, threshold in zip(self.eigenvalues, self.threshold, strict=True):
            noise = float(values[0]) * self.width * torch.finfo(torch.float64).eps
            kept, real = int((values > threshold).sum()), int((values > noise).sum())
            if 4 * kept <= real:
                return kept, real, float((values[0] / values[kept]).sqrt())
        return None

    # -- products with Σ† -----------------------------------------------------------------------

    def times_pinv(self, rows: Tensor) -> Tensor:
        """Return ``rows · Σ†`` for any rows (groups, n, D), in float64."""
        return self._solved.times_pinv(rows.double())

    def project(self, matrix: Tensor, moment: Tensor) -> Tensor:
        """Return ``W Σ_c Σ†``, (groups, out, D), in the type of `matrix`.

        Args:
            matrix: W, (groups, out, D).
            moment: Σ_c, (groups, D, D) float64.
        """
        return self._solved.project(matrix, moment)

    def inside(self, rows: Tensor) -> Tensor:
        """Return `rows` (groups, n, D) projected onto the kept directions of the total, in float64."""
        return self._solved.inside(rows.double())

    def combined(self, shares: Tensor) -> Tensor:
        """Return combinations (groups, r, D) of the total's rows by shares (groups, r, N); dual form only."""
        return self._solved.combined(shares)

    @property
    def pinv_root(self) -> Tensor | None:
        """``S`` with ``Σ† = S Sᵀ``, (groups, D, k) float64; None in the dual form."""
        return self._solved.pinv_root

    # -- concepts -------------------------------------------------------------------------------

    def trace(self, name: str, statistics: Statistics) -> Trace:
        """Return the trace of a group that is part of this total."""
        part = self._solved.part(name)
        if part is None:
            return self._any_trace(statistics)
        rows, shares, overlap = part
        # The duals are as large as the rows, and most concepts are never switched on: made when asked for.
        return Trace(self, rows, None, overlap=overlap, shares=shares)

    def foreign_trace(self, name: str, statistics: Statistics) -> Trace:
        """Return the trace of statistics that are not a group of this total, but should lie inside it.

        Raises:
            ConceptOutsideTotalError: if they do not; the engram would explode.
        """
        trace = self._any_trace(statistics)
        if not statistics.count:
            return trace  # it never reached this layer, so it holds nothing here
        rows = trace.rows.double()
        if not rows.any():
            return trace  # rows of zeros lie in every total, and hold nothing
        largest = float(trace.exclusivity.max())
        outside = float((rows - self.inside(rows)).square().sum())
        lost = outside / float(rows.square().sum().clamp(min=1e-300))
        # A true part of the total can lose no more than what the cut took from the whole total.
        if lost > _LOST and outside > 2 * self._cut_energy():
            raise ConceptOutsideTotalError(
                f"Concept {name!r} is not part of the total: {lost:.0%} of its energy lies in directions "
                "the total does not have. Record it together with everything else."
            )
        if largest > _OUTSIDE:
            raise ConceptOutsideTotalError(
                f"Concept {name!r} is not part of the total: one of its directions is {largest:.3g} times "
                "as strong as in the whole total (at most 1 is possible), and its engram would explode. "
                "Record it together with everything else, so that the total includes it."
            )
        return trace

    def _any_trace(self, statistics: Statistics) -> Trace:
        if statistics.folded:
            return Trace(self, None, None, homogeneous_moment(statistics, self.bias))
        rows = homogeneous_rows(statistics.rows(), self.bias)
        # Once asked for they cost a product; before that as much memory as the rows, for concepts that are
        # mostly never switched on. The dual form has just been solved for them, and may be let go after that.
        later = self.form == "primal"
        return Trace(self, rows, None if later else self.times_pinv(rows).to(rows.dtype))

    def _cut_energy(self) -> float:
        values = self.eigenvalues
        return float(values[values <= self.threshold.unsqueeze(-1)].sum())

    # -- files ----------------------------------------------------------------------------------

    def state(self, *, total: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what `restore` needs: tensors by name, and plain values.

        Args:
            total: also the rows of the dual form's total, without which no other concept can be placed in it.
        """
        tensors = {"eigenvalues": self.eigenvalues, **self._solved.state(total=total)}
        about = {
            "bias": self.bias, "width": self.width, "count": self.count, "cut": self.cut,
            "form": self.form, "dtype": str(self.dtype).removeprefix("torch."),
        }  # fmt: skip
        return tensors, about

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Spectrum:
        """Return a spectrum as it was saved; nothing is solved.

        Raises:
            KeyError: if something is missing.
        """
        spectrum = cls.__new__(cls)
        spectrum.bias, spectrum.width, spectrum.count = about["bias"], about["width"], about["count"]
        spectrum.cut = about["cut"]
        spectrum.dtype = getattr(torch, about["dtype"])
        form = PrimalForm if about["form"] == PrimalForm.name else DualForm
        spectrum._solved = form.restore(tensors, spectrum.cut)
        return spectrum
