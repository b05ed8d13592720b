"""Decompositions of symmetric matrices, by torch or by SciPy, are decompositions of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engram_core.numerics.eigen import _BLOCK, _FEW, eigh, eigvalsh, gram


def _matrix(count: int, groups: int, rank: int) -> torch.Tensor:
    rows = torch.randn(
        groups, count, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(count)
    )
    return rows @ rows.mT


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("rank", [20, 400])
@pytest.mark.parametrize("count", [_FEW - 1, _FEW, 200])
def test_values_and_vectors_make_the_matrix_again(count: int, rank: int, groups: int) -> None:
    matrix = _matrix(count, groups, rank)
    values, vectors = eigh(matrix)
    assert values.shape == (groups, count) and vectors.shape == (groups, count, count)
    scale = float(values.abs().max())
    assert bool((values.diff(dim=-1) >= 0).all())
    again = (vectors * values.unsqueeze(-2)) @ vectors.mT
    torch.testing.assert_close(again, matrix, rtol=0, atol=1e-12 * scale)
    identity = torch.eye(count, dtype=torch.float64).expand_as(matrix)
    torch.testing.assert_close(vectors.mT @ vectors, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(eigvalsh(matrix), values, rtol=0, atol=1e-12 * scale)
    expected = np.linalg.eigvalsh(matrix.numpy())
    np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("solve", [eigh, eigvalsh])
def test_what_is_not_finite_is_refused(bad: float, solve) -> None:  # noqa: ANN001
    matrix = _matrix(_FEW + 2, 2, 30)
    matrix[1, 5, 5] = bad
    with pytest.raises(torch.linalg.LinAlgError, match="NaN or infinite"):
        solve(matrix)


@pytest.mark.parametrize("width", [1, 7, _BLOCK, 2 * _BLOCK + 3])
def test_a_gram_matrix_is_made_in_float64_whatever_the_width(width: int) -> None:
    rows = torch.randn(2, 6, width)
    torch.testing.assert_close(gram(rows), rows.double() @ rows.double().mT, rtol=1e-13, atol=1e-10)
