"""A concept's trace in the rows that a layer reads: the part of every input that belongs to it.

A concept with rows ``F`` (any F with ``FᵀF = Σ_c`` will do) has the *trace* ``P_c = Fᵀ R`` with
``R = F Σ†``. Its engram in a layer is ``W P_c``. Shapes carry a leading `groups` dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..numerics.eigen import eigh
from .filters import Sharpness

if TYPE_CHECKING:
    from .spectrum import Spectrum

__all__ = ["Trace"]


class Trace:
    """One concept in one source: ``P = Fᵀ R``, the part of every input that belongs to the concept.

    Kept as rows and their duals while they are few, as ``Σ_c`` when it was folded; the other forms
    are made when asked for.

    Args:
        spectrum: the total of the source.
        rows: ``F``, (groups, r, D); None if the concept was folded.
        duals: ``R``, (groups, r, D); None to make them when they are asked for.
        moment: ``Σ_c``, (groups, D, D) float64; None if rows are given.
        overlap: ``R Fᵀ``, (groups, r, r) float64, if it is known more exactly than from the duals.
        shares: the duals as combinations of the total's rows, (groups, r, N).
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
        self._shares = shares

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
        """Bytes held, those included that were made when they were asked for."""
        # One tensor may stand under two names, so that each is counted by its identity.
        held = {id(t): t.nbytes for t in self._held()}
        return sum(held.values())

    def _held(self) -> Iterator[Tensor]:
        for value in list(vars(self).values()):  # another thread may ask for more meanwhile
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Tensor):
                    yield part

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
            return self.spectrum.combined(self._shares)
        return self.spectrum.times_pinv(self.rows).to(self.rows.dtype)

    @cached_property
    def overlap(self) -> Tensor:
        """``R Fᵀ = V_c V_cᵀ``, (groups, r, r) float64: its eigenvalues are the exclusivities."""
        if self._exact_overlap is not None:
            return self._exact_overlap
        return self.duals.double() @ self.rows.double().mT

    @cached_property
    def _rotated(self) -> tuple[Tensor, Tensor]:
        """μ, (groups, r) descending, and the basis in which ``V_c V_cᵀ`` is diagonal, (groups, r, r)."""
        values, vectors = eigh((self.overlap + self.overlap.mT) / 2)
        return values.flip(-1), vectors.flip(-1)

    @property
    def exclusivity(self) -> Tensor:
        """How far each direction is the concept's own: 1 own, 0 shared; (groups, r) descending."""
        return self._rotated[0]

    def pair(self, sharpness: Sharpness) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return rows, duals and exclusivities (None if not needed) for ``P^f = Fᵀ diag(w) R``.

        With a plain sharpness the weights are the strength itself, in any basis; otherwise rows and
        duals are rotated into the basis of the exclusivities, where the filter is diagonal.
        """
        if sharpness.plain:
            return self.rows, self.duals, None
        mu, basis = self._rotated
        rotation = basis.mT.to(self.rows.dtype)
        return rotation @ self.rows, rotation @ self.duals, mu

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
            transposed = self.projector.mT  # Σ† Σ_c
            response = matrix @ self.moment
            removed = response @ transposed  # W Σ_c Σ† Σ_c
            whole, gone = float((response * matrix).sum()), float((removed * matrix).sum())
            leaked = gone - float(((removed @ transposed) * matrix).sum())
            return leaked, whole - gone - leaked, whole
        response = matrix @ self.rows.double().mT  # W Fᵀ, (groups, out, r)
        kept = response - response @ self.overlap
        total, left = float((kept * response).sum()), float(kept.square().sum())
        return total - left, left, float(response.square().sum())
