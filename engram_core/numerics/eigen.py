"""Gram matrices, and eigendecompositions by the library that is fast at them.

On a CPU, torch hands them to the LAPACK it was built with. For matrices of a few hundred rows that was
measured up to five times slower than NumPy's (docs/numerics.md), most of all where many eigenvalues are
zero, as they are when sentences begin alike; and it was nearly all of the time that an atlas took.
NumPy's, unlike SciPy's, let other threads of the process run meanwhile.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["add_product", "eigh", "eigvalsh", "gram"]

_FEW = 128  # rows below which torch is as fast, and takes many matrices at once
_BLOCK = 512  # columns in float64 at a time: larger copies, made and freed, leave holes between what is kept


def gram(rows: Tensor) -> Tensor:
    """Return ``X Xᵀ`` in float64, symmetric but for rounding.

    Args:
        rows: X, (groups, N, D), of any floating type.

    Returns:
        (groups, N, N).
    """
    found = torch.zeros(*rows.shape[:-1], rows.shape[-2], dtype=torch.float64, device=rows.device)
    for block in rows.split(_BLOCK, -1):
        wide = block.double()
        add_product(found, wide.mT)
    return found


def add_product(total: Tensor, rows: Tensor) -> None:
    """Add ``XᵀX`` to `total`; where NumPy makes it, for half the price of a product of two matrices.

    Args:
        total: (groups, D, D) float64, changed in place.
        rows: X, (groups, N, D) float64.
    """
    if _in_torch(total):
        total.baddbmm_(rows.mT, rows)
        return
    for sums, one in zip(total, rows.detach(), strict=True):
        values = one.numpy()
        sums += torch.from_numpy(values.T @ values)  # one matrix on both sides: one triangle is made


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, ascending, (groups, N), and eigenvectors in columns, (groups, N, N).

    Args:
        matrix: symmetric, (groups, N, N) float64; only its lower triangle is read.

    Raises:
        torch.linalg.LinAlgError: if it holds NaN or infinities.
    """
    if _in_torch(matrix):
        return torch.linalg.eigh(matrix)
    values, vectors = np.linalg.eigh(_finite(matrix))
    return torch.from_numpy(values), torch.from_numpy(vectors)


def eigvalsh(matrix: Tensor) -> Tensor:
    """Return the eigenvalues alone; see `eigh`."""
    if _in_torch(matrix):
        return torch.linalg.eigvalsh(matrix)
    return torch.from_numpy(np.linalg.eigvalsh(_finite(matrix)))


def _in_torch(matrix: Tensor) -> bool:
    return matrix.device.type != "cpu" or matrix.shape[-1] < _FEW


def _finite(matrix: Tensor) -> np.ndarray:
    found: np.ndarray = matrix.detach().numpy()
    if not np.isfinite(found).all():
        raise torch.linalg.LinAlgError("A matrix with NaN or infinite elements has no eigendecomposition.")
    return found
