"""The identities of docs/science.md section 2, over shapes, ranks, types, biases and both solves."""

import pytest
import torch
from helpers import (
    EPS32,
    engram_by_hand,
    homogeneous,
    pinv_under_cut,
    relative,
    structured,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from worlds import LAYER, World, nothing_cut, tolerance, worlds

import engram_core as ec
from engram_core.recording.statistics import Statistics
from engram_core.solving.spectrum import Spectrum

# -- the engram itself -----------------------------------------------------------------------------------


@given(worlds())
def test_the_engram_is_w_sigma_c_sigma_pinv(world: World) -> None:
    atlas = world.atlas()
    for name in world.concepts:
        expected = engram_by_hand(world.matrix, world.rows(name), world.rows())
        assert relative(atlas[name].matrix(LAYER)[0], expected) < tolerance(world)


@given(worlds())
def test_a_target_that_is_the_total_has_the_layer_itself_on_the_span(world: World) -> None:
    whole = World(world.layer, {"all": torch.cat(list(world.concepts.values()))})
    engram = whole.atlas()["all"].matrix(LAYER)[0].double()
    rows = whole.rows()
    inside = rows.mT @ rows @ pinv_under_cut(rows.mT @ rows)
    assert relative(engram, world.matrix @ inside) < tolerance(world)
    # What the cut takes away is missing from the response too, and nothing else is.
    cut_away = relative(world.matrix @ inside @ rows.mT, world.matrix @ rows.mT)
    assert cut_away < 0.05
    assert relative(engram @ rows.mT, world.matrix @ rows.mT) < cut_away + tolerance(world)


@given(worlds())
def test_engrams_of_all_concepts_sum_to_w_on_the_span(world: World) -> None:
    atlas = world.atlas()
    total = sum((atlas[name] for name in atlas), start=ec.Engram(atlas, {}))
    rows = world.rows()
    values, vectors = torch.linalg.eigh(rows.mT @ rows)
    kept = vectors[:, values > len(values) * EPS32 * values[-1]]
    assert relative(total.matrix(LAYER)[0], world.matrix @ kept @ kept.mT) < tolerance(world)


@given(worlds(precise=True))
def test_the_rank_of_an_engram_is_at_most_its_concepts(world: World) -> None:
    atlas = world.atlas()
    for name in world.concepts:
        rank = int(torch.linalg.matrix_rank(atlas[name].matrix(LAYER)[0], rtol=1e-7))
        assert rank <= int(torch.linalg.matrix_rank(world.rows(name), rtol=1e-9))
        assert rank <= atlas[name].rank(LAYER)


def folded(statistics: Statistics) -> Statistics:
    copied = statistics.copy()
    copied._fold()
    return copied


@given(worlds(solve="dual"), st.integers(0, 1))
def test_folding_a_concept_by_force_changes_nothing(world: World, which: int) -> None:
    bias = world.layer.bias is not None
    statistics = ec.record(world.layer, world.concepts).sources[0].statistics
    name = list(world.concepts)[which]
    one = Spectrum(statistics, bias=bias)
    two = Spectrum(statistics | {name: folded(statistics[name])}, bias=bias)
    assert (one.form, two.form) == ("dual", "primal")
    for other in world.concepts:
        first = one.trace(other, statistics[other]).projector
        mine = folded(statistics[other]) if other == name else statistics[other]
        assert relative(two.trace(other, mine).projector, first) < max(tolerance(world), 1e-4)
    assert torch.allclose(one.eigenvalues[0, : one.rank], two.eigenvalues[0, : two.rank], rtol=1e-4)
    assert int(one.rank) == int(two.rank)


def test_groups_of_a_convolution_are_solved_apart() -> None:
    layer = nn.Conv2d(4, 6, 2, groups=2, bias=True)
    x = structured(3, 90, 4 * 16).float().reshape(90, 4, 4, 4)
    atlas = ec.extract(layer, ec.record(layer, {"a": x[:30], "b": x[30:]}))
    engram = atlas["a"]
    left, right = engram.factors("Conv2d")
    assert left.ndim == right.ndim == 3 and left.shape[:2] == (2, 3) and right.shape[::2] == (2, 9)
    for group in range(2):
        rows = [nn.functional.unfold(p[:, 2 * group :][:, :2], 2).mT.reshape(-1, 8) for p in (x[:30], x)]
        matrix = torch.cat([layer.weight[3 * group :][:3].flatten(1), layer.bias[3 * group :][:3, None]], 1)
        expected = engram_by_hand(matrix.detach(), *(homogeneous(r, True) for r in rows))
        assert relative(engram.matrix("Conv2d")[group], expected) < 1e-4
        assert relative(left[group] @ right[group], expected) < 1e-4
    assert engram.weight("Conv2d").shape == layer.weight.shape
    torch.testing.assert_close(engram.bias("Conv2d"), engram.matrix("Conv2d")[..., -1].reshape(-1))


# -- the cut ---------------------------------------------------------------------------------------------


# -- the leakage bound and optimality -----------------------------------------------------------------


@given(worlds(precise=True, full=True))
def test_the_engram_is_where_the_gradient_of_its_loss_vanishes(world: World) -> None:
    assume(nothing_cut(world))
    atlas = world.atlas()
    name = next(iter(world.concepts))
    own, rest = world.rows(name), world.rows(*list(world.concepts)[1:])

    def loss(engram: Tensor) -> Tensor:
        stays = (engram - world.matrix) @ own.mT
        leaks = engram @ rest.mT
        return 2 * stays.square().sum() + 2 * leaks.square().sum()

    found = atlas[name].matrix(LAYER)[0].double().clone().requires_grad_()
    loss(found).backward()
    elsewhere = world.matrix.clone().requires_grad_()
    loss(elsewhere).backward()
    scale = max(float(elsewhere.grad.norm()), float((world.matrix @ own.mT @ own).norm()))
    assert float(found.grad.norm()) < 1e-6 * scale
    # And the minimum is 2 tr(W Q Wᵀ), as the certificate says without looking.
    leak, residue, _ = atlas.trace(LAYER, name).leak(atlas.matrix(LAYER))
    assert float(loss(found).detach()) == pytest.approx(2 * (leak + residue), rel=1e-4, abs=1e-7 * scale)


@given(worlds(precise=True))
def test_erasing_is_one_unit_natural_gradient_step_on_the_forgetting_loss(world: World) -> None:
    """K-FAC with isotropic output curvature: the step is gradient · Σ†, the metric the total's Σ."""
    name, own, rows = "a", world.rows("a"), world.rows()
    weights = world.matrix.clone().requires_grad_()
    (0.5 * (weights @ own.mT).square().sum()).backward()  # the gradient is W Σ_c
    stepped = world.matrix - weights.grad @ pinv_under_cut(rows.mT @ rows)
    view = world.atlas().apply(erase=name)
    assert relative(ec.bake(view).weight, stepped[:, : world.layer.in_features]) < 1e-7
    if world.layer.bias is not None:
        assert relative(ec.bake(view).bias, stepped[:, -1]) < 1e-7


# -- exclusivity and sharpness ---------------------------------------------------------------------------


# -- the target must be in the total ---------------------------------------------------------------------


# -- arithmetic ------------------------------------------------------------------------------------------
