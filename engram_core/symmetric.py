"""Symmetric matrices in float64: Gram matrices, and eigendecompositions by the library that is fast at them.

On a CPU, torch hands them to the LAPACK it was built with. For matrices of a few hundred rows that was
measured two to five times slower than SciPy's (docs/numerics.md), most of all where many eigenvalues are
zero, as they are when sentences begin alike; and it was nearly all of the time that an atlas took.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

__all__ = ["eigh", "eigvalsh", "gram"]

_FEW = 128  # rows below which torch is as fast, and takes many matrices at once
_CHECKED: dict[str, Any] = {"driver": "evd", "check_finite": False}  # by `_finite`
_BLOCK = 512  # columns in float64 at a time: larger copies, made and freed, leave holes between what is kept


def gram(rows: Tensor) -> Tensor:
    """Return ``X Xᵀ`` in float64, symmetric but for rounding.

    Args:
        rows: X, (groups, N, D), of any floating type.

    Returns:
        (groups, N, N).
    """
    first, *others = rows.split(_BLOCK, -1)
    wide = first.double()
    found = wide @ wide.mT
    for block in others:
        wide = block.double()
        found.baddbmm_(wide, wide.mT)
    return found


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, ascending, (groups, N), and eigenvectors in columns, (groups, N, N).

    Args:
        matrix: symmetric, (groups, N, N) float64; only its lower triangle is read.

    Raises:
        torch.linalg.LinAlgError: if it holds NaN or infinities.
    """
    if _in_torch(matrix):
        return torch.linalg.eigh(matrix)
    values, vectors = zip(*(scipy.linalg.eigh(one, **_CHECKED) for one in _finite(matrix)), strict=True)
    return _stacked(values), _stacked(vectors)


def eigvalsh(matrix: Tensor) -> Tensor:
    """Return the eigenvalues alone; see `eigh`."""
    if _in_torch(matrix):
        return torch.linalg.eigvalsh(matrix)
    return _stacked([scipy.linalg.eigvalsh(one, **_CHECKED) for one in _finite(matrix)])


def _in_torch(matrix: Tensor) -> bool:
    return matrix.device.type != "cpu" or matrix.shape[-1] < _FEW


def _finite(matrix: Tensor) -> np.ndarray:
    found: np.ndarray = matrix.detach().numpy()
    if not np.isfinite(found).all():
        raise torch.linalg.LinAlgError("A matrix with NaN or infinite elements has no eigendecomposition.")
    return found


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    if len(arrays) == 1:
        return torch.from_numpy(arrays[0]).unsqueeze(0)  # needs no copy
    return torch.stack([torch.from_numpy(array) for array in arrays])
