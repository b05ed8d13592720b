"""The total's pseudo-inverse under the eigenvalue cut, by the cheaper of two forms.

Everything is in row form: a source's rows are ``X`` (N × D), the total is ``Σ = XᵀX``. Shapes carry a
leading `groups` dimension. The *primal* form decomposes Σ (D × D), the *dual* form decomposes
``K = X Xᵀ`` (N × N), which has the same non-zero spectrum; docs/science.md section 3.

A concept with rows ``F`` (any F with ``FᵀF = Σ_c`` will do) has the *trace* ``P_c = Fᵀ R`` with
``R = F Σ†``: the part of every input that belongs to the concept. Its engram in a layer is ``W P_c``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import ConceptOutsideTotalError, DataError, EngramError
from ..numerics.eigen import eigh, eigvalsh, gram
from ..recording.statistics import Statistics, homogeneous_moment, homogeneous_rows, total_moment

__all__ = ["FLOAT32_EPS", "Sharpness", "Spectrum", "Trace", "default_cut"]

FLOAT32_EPS = 1.1920929e-7
"""Relative spacing of float32: the noise floor of the default cut, whatever the data type."""

# A concept inside the total has its exclusivities in [0, 1]; beyond this it is not inside.
_OUTSIDE = 1.0 + 1e-3
_LOST = 0.01  # share of a target's energy that the cut may take away


def default_cut(width: int) -> float:
    """Return the cut of docs/science.md section 3, as a fraction of the largest eigenvalue."""
    return width * FLOAT32_EPS


@dataclass(frozen=True)
class Sharpness:
    """The filter ``f(μ) = μ^power`` on a concept's exclusivities, docs/science.md section 5.

    Attributes:
        power: 1 is the paper's engram; 1.5 to 2 spares what the concept shares with others.
        clip: limit strength × f(μ) to 1, so that no direction is removed more than once.
    """

    power: float = 1.0
    clip: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.power <= 64:
            raise DataError(f"The sharpness power must be above 0 and at most 64; found {self.power}.")

    @property
    def plain(self) -> bool:
        """Whether this is the paper's engram, for which no exclusivity need be known."""
        return self.power == 1.0 and not self.clip

    def weights(self, mu: Tensor, strength: float) -> Tensor:
        """Return ``strength · f(μ) / μ`` per direction; directions without any share get 0."""
        wanted = abs(strength) * mu.clamp(0, 1) ** self.power
        if self.clip:
            wanted = wanted.clamp(max=1.0)
        sign = -1.0 if strength < 0 else 1.0
        return torch.where(mu > 1e-12, sign * wanted / mu.clamp(min=1e-12), torch.zeros_like(mu))


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
        form: ``"dual"`` or ``"primal"``.
        dtype: type of the recorded rows.
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
        dual = self.count < self.width and not any(s.folded for s in parts.values())
        self.form = "dual" if dual else "primal"
        self._places: dict[str, slice] = {}
        self._solved: tuple[Tensor, Tensor] | None = None
        if dual:
            self._solve_dual(parts)
        else:
            self._solve_primal(parts)

    # -- the two solves -------------------------------------------------------------------------

    def _solve_dual(self, parts: Mapping[str, Statistics]) -> None:
        start = 0
        rows: list[Tensor] = []
        for name, s in parts.items():
            rows.append(homogeneous_rows(s.rows(), self.bias))
            self._places[name] = slice(start, start + s.count)
            start += s.count
        self._rows = torch.cat(rows, 1) if len(rows) > 1 else rows[0]
        if not self.bias:
            for name, s in parts.items():
                if s.dtype == self._rows.dtype:
                    # The same rows, held once: a recording and its atlas would double the memory.
                    s.chunks = [self._rows[:, self._places[name]]]
        self._solution()

    def _solution(self) -> tuple[Tensor, Tensor]:
        """Return the Gram matrix and its pseudo-inverse, (groups, N, N) float64; solved if let go."""
        if self._solved is None:
            products = gram(self._rows)
            inverse = self._full_rank_inverse(products)
            if inverse is None:
                values, vectors = eigh(products)
                self._eigenvalues = values.flip(-1)
                vectors, scale = self._kept(values, vectors)
                inverse = gram(vectors * scale.sqrt().unsqueeze(-2))
            self._solved = products, inverse
        return self._solved

    def let_go(self) -> None:
        """Drop the N × N matrices of the dual form: with many layers they are most of an atlas's memory.

        Traces keep what they need. Whoever asks for more has it solved again, once.
        """
        self._solved = None

    def _full_rank_inverse(self, products: Tensor) -> Tensor | None:
        """Invert the Gram matrix by Cholesky if the cut provably removes nothing; else None.

        Several times cheaper than the decomposition, and the same answer: with every eigenvalue
        above the cut the pseudo-inverse is the inverse.
        """
        if self.cut == 0:
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
        shifted.diagonal(dim1=-2, dim2=-1).sub_(self.cut * largest.unsqueeze(-1))
        return not bool(torch.linalg.cholesky_ex(shifted).info.any())

    def _solve_primal(self, parts: Mapping[str, Statistics]) -> None:
        values, vectors = eigh(total_moment(parts.values(), self.bias))
        self._eigenvalues = values.flip(-1)
        vectors, scale = self._kept(values, vectors)
        self._vectors, self._scale = vectors.contiguous(), scale.contiguous()  # lets go of what is cut

    def _kept(self, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return eigenvectors and reciprocal eigenvalues (0 under the cut), from the first that is kept."""
        keep = values > self.cut * values[..., -1:].clamp(min=0)
        keep &= values > 0
        scale = torch.where(keep, values.clamp(min=torch.finfo(values.dtype).tiny).reciprocal(), 0.0)
        # Ascending: what every group cuts comes first, and is dropped instead of multiplied by zero.
        first = values.shape[-1] - int(keep.sum(-1).max())
        return vectors[..., first:], scale[..., first:]

    # -- what others read -----------------------------------------------------------------------

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Eigenvalues of the total, descending, (groups, min(N, D)) float64, those cut included."""
        if not hasattr(self, "_eigenvalues"):
            products = gram(self._rows) if self._solved is None else self._solved[0]
            self._eigenvalues = eigvalsh(products).flip(-1)
        return self._eigenvalues.clamp(min=0)

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
        if not hasattr(self, "_eigenvalues"):
            return None
        for values, threshold in zip(self.eigenvalues, self.threshold, strict=True):
            noise = float(values[0]) * self.width * torch.finfo(torch.float64).eps
            kept, real = int((values > threshold).sum()), int((values > noise).sum())
            if 4 * kept <= real:
                return kept, real, float((values[0] / values[kept]).sqrt())
        return None

    def times_pinv(self, rows: Tensor) -> Tensor:
        """Return ``rows · Σ†`` for any rows (groups, n, D), in float64."""
        rows = rows.double()
        self._need_total()
        if self.form == "primal":
            return ((rows @ self._vectors) * self._scale.unsqueeze(-2)) @ self._vectors.mT
        base, inverse = self._rows.double(), self._solution()[1]
        return ((rows @ base.mT) @ inverse @ inverse) @ base

    def project(self, matrix: Tensor, moment: Tensor) -> Tensor:
        """Return ``W Σ_c Σ†`` in the type of `matrix`, by the cheaper order of products.

        Only the product after which small eigenvalues are divided by needs float64. The columns of what
        it leaves, ``Σ_c V diag(1/λ)``, are at most ``cut^-½`` long (`Σ_c ≤ Σ`), and `V` is orthonormal.
        """
        outputs, width = matrix.shape[-2:]
        kept = self._scale.shape[-1]
        if self.form == "primal" and kept * width < outputs * (width + kept):
            loadings = (moment @ self._vectors) * self._scale.unsqueeze(-2)
            return (matrix @ loadings.to(matrix.dtype)) @ self._vectors.mT.to(matrix.dtype)
        return self.times_pinv(matrix.double() @ moment).to(matrix.dtype)

    def inside(self, rows: Tensor) -> Tensor:
        """Return ``rows`` projected onto the kept directions of the total, in float64."""
        rows = rows.double()
        self._need_total()
        if self.form == "primal":
            kept = self._vectors * (self._scale > 0).unsqueeze(-2)
            return (rows @ kept) @ kept.mT
        base = self._rows.double()
        return ((rows @ base.mT) @ self._solution()[1]) @ base

    def trace(self, name: str, statistics: Statistics) -> Trace:
        """Return the trace of a group that is part of this total."""
        if name in self._places:
            return self._own_trace(self._places[name])
        return self._any_trace(statistics)

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

    def _need_total(self) -> None:
        if self.form == "dual" and not hasattr(self, "_rows"):
            raise EngramError(
                "This atlas was read from a file, which keeps its concepts but not the rows of the total. "
                "Extract it again from the recording to place other concepts in it."
            )

    # -- files ----------------------------------------------------------------------------------

    def state(self, *, total: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return what `restore` needs: tensors by name, and plain values.

        Args:
            total: also the rows of the dual form's total, without which no other concept can be placed in it.
        """
        tensors = {"eigenvalues": self.eigenvalues}
        if total and self.form == "dual" and hasattr(self, "_rows"):
            tensors["total"] = self._rows.clone()  # files hold no two names of one memory
        if self.form == "primal":
            tensors |= {"vectors": self._vectors, "scale": self._scale}
        about = {
            "bias": self.bias, "width": self.width, "count": self.count, "cut": self.cut,
            "form": self.form, "dtype": str(self.dtype).removeprefix("torch."),
        }  # fmt: skip
        return tensors, about

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Spectrum:
        """Return a spectrum as it was saved; nothing is solved."""
        spectrum = cls.__new__(cls)
        spectrum.bias, spectrum.width, spectrum.count = about["bias"], about["width"], about["count"]
        spectrum.cut, spectrum.form = about["cut"], about["form"]
        spectrum.dtype = getattr(torch, about["dtype"])
        spectrum._eigenvalues = tensors["eigenvalues"]
        spectrum._places = {}
        spectrum._solved = None
        if "total" in tensors:
            spectrum._rows = tensors["total"]
        if spectrum.form == "primal":
            spectrum._vectors, spectrum._scale = tensors["vectors"], tensors["scale"]
        return spectrum

    def _cut_energy(self) -> float:
        values = self.eigenvalues
        return float(values[values <= self.threshold.unsqueeze(-1)].sum())

    def _own_trace(self, place: slice) -> Trace:
        rows, (products, inverse) = self._rows, self._solution()
        mine = inverse[:, place]
        # The duals are as large as the rows, and most concepts are never switched on: made when asked for.
        shares = mine.to(rows.dtype, copy=True)
        # V_c V_cᵀ from the float64 Gram matrix: through float32 duals it would be off by up to 2e-3.
        return Trace(self, rows[:, place], None, overlap=mine @ products[:, place].mT, shares=shares)

    def _any_trace(self, statistics: Statistics) -> Trace:
        if statistics.folded:
            return Trace(self, None, None, homogeneous_moment(statistics, self.bias))
        rows = homogeneous_rows(statistics.rows(), self.bias)
        # Once asked for they cost a product; before that as much memory as the rows, for concepts that are
        # mostly never switched on. The dual form has just been solved for them, and may be let go after that.
        later = self.form == "primal"
        return Trace(self, rows, None if later else self.times_pinv(rows).to(rows.dtype))


class Trace:
    """One concept in one source: ``P = Fᵀ R``, the part of every input that belongs to the concept.

    Kept as rows and their duals while they are few, as ``Σ_c`` when it was folded; the other forms
    are made when asked for.
    """

    def __init__(
        self,
        spectrum: Spectrum,
        rows: Tensor | None,
        duals: Tensor | None,
        moment: Tensor | None = None,
        *,
        overlap: Tensor | None = None,
        shares: Tensor | None = None,
    ):
        self.spectrum = spectrum
        self._rows = rows
        self._duals = duals
        self._moment = moment
        self._exact_overlap = overlap
        self._shares = shares  # duals as combinations of the total's rows

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that `restore` needs."""
        if self._moment is not None:
            return {"moment": self._moment}
        made = vars(self).keys() & {"duals", "overlap"}
        found = {"rows": self.rows, "duals": self.duals, "overlap": self.overlap}
        for name in {"duals", "overlap"} - made:  # made for the file alone: most are never switched on
            vars(self).pop(name, None)
        return found

    @classmethod
    def restore(cls, spectrum: Spectrum, tensors: Mapping[str, Tensor]) -> Trace:
        """Return a trace as it was saved."""
        if "moment" in tensors:
            return cls(spectrum, None, None, tensors["moment"])
        overlap = tensors["overlap"]
        return cls(spectrum, tensors["rows"], tensors["duals"], overlap=overlap)

    @property
    def folded(self) -> bool:
        """Whether only the second moment is known, so that the dense projector is the cheap form."""
        return self._rows is None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        made = None if self._duals is not None else vars(self).get("duals")
        parts = (self._rows, self._duals, self._moment, self._shares, self._exact_overlap, made)
        return sum(t.numel() * t.element_size() for t in parts if t is not None)

    @cached_property
    def moment(self) -> Tensor:
        """Second moment ``Σ_c``, (groups, D, D) float64."""
        if self._moment is not None:
            return self._moment
        rows = self.rows.double()
        return rows.mT @ rows

    @cached_property
    def projector(self) -> Tensor:
        """``P = Σ_c Σ†``, (groups, D, D) float64. Large for wide layers."""
        if self._moment is not None:
            return self.spectrum.times_pinv(self._moment)
        return self.rows.double().mT @ self.duals.double()

    @cached_property
    def rows(self) -> Tensor:
        """``F`` with ``FᵀF = Σ_c``, (groups, r, D): the rows themselves, or a factor of the moment."""
        if self._rows is not None:
            return self._rows
        values, vectors = eigh(self.moment)
        # Below the noise of float64 there is only rounding, whose root would look like a direction.
        floor = values[..., -1:].clamp(min=0) * 1e-14
        root = torch.where(values > floor, values.clamp(min=0), 0.0).sqrt()
        used = (root > 0).any(0)
        return (vectors * root.unsqueeze(-2))[..., used].mT.to(self.spectrum.dtype)

    @cached_property
    def duals(self) -> Tensor:
        """``R = F Σ†``, (groups, r, D)."""
        if self._duals is not None:
            return self._duals
        if self._shares is not None:
            return self._shares @ self.spectrum._rows
        return self.spectrum.times_pinv(self.rows).to(self.rows.dtype)

    @cached_property
    def overlap(self) -> Tensor:
        """``R Fᵀ = V_c V_cᵀ``, (groups, r, r) float64: its eigenvalues are the exclusivities."""
        if self._exact_overlap is not None:
            return self._exact_overlap
        return self.duals.double() @ self.rows.double().mT

    @cached_property
    def _turned(self) -> tuple[Tensor, Tensor]:
        values, vectors = eigh((self.overlap + self.overlap.mT) / 2)
        return values.flip(-1), vectors.flip(-1)

    @property
    def exclusivity(self) -> Tensor:
        """How far each direction is the concept's own: 1 own, 0 shared; (groups, r) descending."""
        return self._turned[0]

    def pair(self, sharpness: Sharpness) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return rows, duals and exclusivities (None if not needed) for ``P^f = Fᵀ diag(w) R``.

        With a plain sharpness the weights are the strength itself, in any basis; otherwise rows and
        duals are turned into the basis of the exclusivities, where the filter is diagonal.
        """
        if sharpness.plain:
            return self.rows, self.duals, None
        mu, basis = self._turned
        turn = basis.mT.to(self.rows.dtype)
        return turn @ self.rows, turn @ self.duals, mu

    def leak(self, matrix: Tensor) -> tuple[float, float, float]:
        """Return the leak certificate of a layer, docs/science.md section 2.

        Args:
            matrix: ``[W | b]``, (groups, out, D).

        Returns:
            Three energies: ``‖E X_rest‖²`` (what leaks onto the rest), ``‖(W − E) X_c‖²`` (what stays
            of the target), and ``‖W X_c‖²`` to hold them against. The first two sum to ``tr(W Q Wᵀ)``.
        """
        matrix = matrix.double()
        if self.folded:
            turned = self.projector.mT  # Σ† Σ_c
            response = matrix @ self.moment
            removed = response @ turned  # W Σ_c Σ† Σ_c
            whole, gone = float((response * matrix).sum()), float((removed * matrix).sum())
            leaked = gone - float(((removed @ turned) * matrix).sum())
            return leaked, whole - gone - leaked, whole
        response = matrix @ self.rows.double().mT  # W Fᵀ, (groups, out, r)
        kept = response - response @ self.overlap
        total, left = float((kept * response).sum()), float(kept.square().sum())
        return total - left, left, float(response.square().sum())
