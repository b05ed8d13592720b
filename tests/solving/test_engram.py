"""Engrams add, scale and are handed out as the matrices they stand for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import LAYER, World, tolerance, worlds

import engram_core as ec
from engram_core.errors import EngramError, UnknownNameError


@given(worlds(), st.floats(-3, 3), st.floats(-3, 3))
def test_engrams_add_and_scale_like_vectors_in_any_order(world: World, s: float, t: float) -> None:
    atlas = world.atlas()
    a, b = atlas["a"], atlas["b"]
    near = dict(rtol=1e-5, atol=1e-5)
    one, two = a.matrix(LAYER), b.matrix(LAYER)
    torch.testing.assert_close((s * a + b * t).matrix(LAYER), s * one + t * two, **near)
    torch.testing.assert_close((b * t + a * s).matrix(LAYER), (s * a + t * b).matrix(LAYER), **near)
    torch.testing.assert_close((a - b).matrix(LAYER), one - two, **near)
    assert not (a - a).matrix(LAYER).any()
    torch.testing.assert_close((-a).matrix(LAYER), -one)


@given(worlds(), st.sampled_from([{"a": 1.0}, {"a": 0.5, "b": -2.0}, {"b": 0.0}]))
def test_weight_bias_factors_norm_and_rank_tell_one_story(
    world: World, coefficients: dict[str, float]
) -> None:
    engram = ec.Engram(world.atlas(), coefficients)
    matrix = engram.matrix(LAYER)[0]
    columns = world.layer.in_features
    assert torch.equal(engram.weight(LAYER), matrix[:, :columns])
    bias = engram.bias(LAYER)
    assert (bias is None) == (world.layer.bias is None)
    if bias is not None:
        assert torch.equal(bias, matrix[:, -1])
    left, right = engram.factors(LAYER)
    scale = float(world.matrix.norm())
    assert float((left @ right - matrix).norm()) < tolerance(world) * scale
    assert engram.norm(LAYER) == pytest.approx(float(matrix.norm()), rel=5e-3, abs=1e-5 * scale)
    assert left.shape[1] == right.shape[0]
    found = int(torch.linalg.matrix_rank(matrix.double(), rtol=1e-4))
    assert found <= max(engram.rank(LAYER), 0)


def test_what_an_engram_hands_out_can_be_written_on(digits) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, digits.concepts))
    engram, size = atlas["5"], atlas["5"].norm("0")
    engram.matrix("0").zero_()
    engram.weight("0").zero_()
    engram.bias("0").zero_()
    for factor in engram.factors("0"):
        factor.zero_()
    assert atlas["5"].norm("0") == size > 0


def test_engrams_of_two_atlases_do_not_add(digits) -> None:
    recording = ec.record(digits.model, digits.concepts)
    one, two = ec.extract(digits.model, recording), ec.extract(digits.model, recording)
    with pytest.raises(EngramError, match="different totals"):
        one["1"] + two["1"]
    with pytest.raises(TypeError):
        one["1"] + 1.0
    with pytest.raises(UnknownNameError, match="Unknown concept '11'"):
        one["11"]
    with pytest.raises(UnknownNameError, match="Unknown layer 'fc9'"):
        one["1"].weight("fc9")
