"""Sharpness is a filter on exclusivity: the paper's engram at power one, nothing twice when clipped."""

from __future__ import annotations

import pytest
import torch
from helpers import (
    EPS32,
    pinv_under_cut,
    relative,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from worlds import LAYER, World, worlds

import engram_core as ec
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


def filtered_by_hand(world: World, name: str, sharpness: Sharpness, strength: float) -> Tensor:
    """Return ``W Σ^½ f(M) Σ^-½`` with ``M = Σ^-½ Σ_c Σ^-½``: the filter, dense and symmetric."""
    rows, own = world.rows(), world.rows(name)
    values, vectors = torch.linalg.eigh(rows.mT @ rows)
    keep = values > len(values) * EPS32 * values[-1]
    values, vectors = values[keep], vectors[:, keep]
    root, inverse = (vectors * values.sqrt()) @ vectors.mT, (vectors / values.sqrt()) @ vectors.mT
    mu, basis = torch.linalg.eigh(inverse @ own.mT @ own @ inverse)
    wanted = abs(strength) * mu.clamp(0, 1) ** sharpness.power
    wanted = wanted.clamp(max=1) if sharpness.clip else wanted
    wanted = torch.where(mu > 1e-9, wanted, 0.0) * (1 if strength >= 0 else -1)
    return world.matrix @ root @ (basis * wanted) @ basis.mT @ inverse


@given(
    worlds(precise=True),
    st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0]),
    st.booleans(),
    st.sampled_from([1.0, 0.3, 5.0, -2.0]),
)
def test_sharpness_is_the_filter_on_exclusivity_in_both_solves(
    world: World, power: float, clip: bool, strength: float
) -> None:
    sharpness = Sharpness(power, clip)
    atlas = world.atlas(sharpness=sharpness)
    name = "b"
    expected = filtered_by_hand(world, name, sharpness, strength)
    # A concept's rows in the kept span are what the filter turns; what the cut drops is not in it.
    rows = world.rows()
    span = rows.mT @ rows @ pinv_under_cut(rows.mT @ rows)
    found = (atlas[name] * strength).matrix(LAYER)[0].double()
    lost = float((world.rows(name) - world.rows(name) @ span).norm() / world.rows(name).norm())
    # μ below 1e-9 counts as none by hand; with a power under 1 those directions are not negligible.
    loose = 1e-4 if power >= 1 else 1e-2
    scale = max(float(expected.norm()), 1e-3 * float(world.matrix.norm()))
    assert float((found - expected).norm()) < (loose + 10 * lost) * scale
    left, right = (atlas[name] * strength).factors(LAYER)
    assert relative(left @ right, found) < 1e-6 or float(found.norm()) < 1e-9


def test_the_papers_engram_is_power_one_and_sharpening_solves_nothing(monkeypatch, digits) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, {n: x[:3] for n, x in digits.concepts.items()}))
    sharp = atlas.sharpen(2.0)
    before = sharp["3"].matrix("2")
    assert relative(atlas.sharpen(1.0, clip=True)["3"].matrix("2"), atlas["3"].matrix("2")) < 1e-5

    def refuse(*_):
        raise AssertionError("solved again")

    monkeypatch.setattr(torch.linalg, "eigh", refuse)
    monkeypatch.setattr(torch.linalg, "cholesky_ex", refuse)
    again = atlas.sharpen(2.0, clip=True).sharpen(2.0)
    assert torch.equal(again["3"].matrix("2"), before)


@pytest.mark.parametrize("strength", [1.0, 3.0, 50.0])
def test_a_clipped_filter_never_removes_a_direction_more_than_once(digits, strength: float) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, digits.concepts), sharpness=Sharpness(1.5, True))
    for layer in atlas.layers:
        mu = atlas.trace(layer, "4").exclusivity
        removed = atlas.sharpness.weights(mu, strength) * mu
        assert removed.max() <= 1 + 1e-9 and removed.min() >= 0


def test_sharper_engrams_spare_the_shared_directions(digits) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, digits.concepts))
    for layer in atlas.layers:
        sizes = [atlas.sharpen(power)["8"].norm(layer) for power in (1.0, 1.5, 2.0, 4.0)]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("power", [0.0, -1.0, 65.0, float("nan"), float("inf")])
def test_an_impossible_sharpness_is_refused(power: float) -> None:
    with pytest.raises(DataError, match="power"):
        Sharpness(power)
