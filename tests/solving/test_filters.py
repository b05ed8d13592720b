"""The cut and the filter, apart from any model."""

import pytest
import torch

from engram_core.errors import DataError
from engram_core.solving.filters import Sharpness, above_cut, default_cut


def test_the_default_cut_grows_with_the_width() -> None:
    assert default_cut(100) == pytest.approx(100 * torch.finfo(torch.float32).eps)


def test_groups_that_keep_different_numbers_share_one_shape() -> None:
    values = torch.tensor([[0.0, 0.5, 2.0, 4.0], [0.0, 0.0, 0.01, 4.0]], dtype=torch.float64)
    vectors = torch.linalg.qr(torch.randn(2, 4, 4, dtype=torch.float64)).Q
    kept, reciprocal = above_cut(values, vectors, 0.1)
    assert kept.shape == (2, 4, 3)  # of the first group three are above 0.4
    assert torch.equal(reciprocal, torch.tensor([[2.0, 0.5, 0.25], [0.0, 0.0, 0.25]], dtype=torch.float64))
    found = (kept * reciprocal.unsqueeze(-2)) @ kept.mT
    total = (vectors * values.unsqueeze(-2)) @ vectors.mT
    torch.testing.assert_close(found, torch.linalg.pinv(total, rtol=0.1, hermitian=True))


def test_a_total_of_zeros_keeps_nothing() -> None:
    kept, reciprocal = above_cut(torch.zeros(1, 3).double(), torch.eye(3).double()[None], 0.0)
    assert kept.shape == (1, 3, 0) and reciprocal.shape == (1, 0)


@pytest.mark.parametrize(
    ("power", "clip", "strength", "removed"),
    [(1, False, 2.0, [2.0, 1.0]), (2, False, 2.0, [2.0, 0.5]), (1, True, 2.0, [1.0, 1.0]),
     (2, True, 3.0, [1.0, 0.75]), (1, True, -3.0, [-1.0, -1.0])],
)  # fmt: skip
def test_the_filter_removes_strength_times_mu_to_the_power(power, clip, strength, removed) -> None:
    mu = torch.tensor([1.0, 0.5, 0.0])
    found = Sharpness(power, clip).weights(mu, strength) * mu
    torch.testing.assert_close(found, torch.tensor([*removed, 0.0]))


@pytest.mark.parametrize("power", [0, -1, 65, float("nan")])
def test_a_power_out_of_range_is_refused(power) -> None:
    with pytest.raises(DataError, match="power"):
        Sharpness(power)
