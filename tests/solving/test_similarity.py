"""Cosines of engrams are those of the dense engrams, over every layer and over all together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import CASES, case_of

from engram_core.errors import DataError, UnknownNameError
from engram_core.solving.similarity import EngramCosines, engram_cosines


@pytest.mark.parametrize("layer", ["first", None])
@pytest.mark.parametrize("name", CASES)
def test_cosines_and_norms_are_those_of_dense_engrams(name: str, layer: str | None) -> None:
    case = case_of(name)
    layers = list(case.weights) if layer is None else [case.atlas.layers[0]]
    flat = torch.stack([torch.cat([case.engram(n, c).flatten() for n in layers]) for c in "abc"])
    norms = flat.norm(dim=1)
    expected = flat @ flat.mT / norms[:, None] / norms
    found = engram_cosines(case.atlas, None if layer is None else layers[0])
    np.testing.assert_allclose(found.cosines, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(found.norms, norms.numpy(), rtol=1e-5)
    assert found.concepts == ("a", "b", "c") and found.layers == tuple(layers)
    np.testing.assert_allclose(found.matrix @ found.matrix.T, found.cosines, atol=1e-6)


def test_some_concepts_in_their_order_are_a_part_of_all() -> None:
    atlas = case_of("many rows").atlas
    whole, part = engram_cosines(atlas), engram_cosines(atlas, concepts=["c", "a"])
    np.testing.assert_allclose(part.cosines, whole.cosines[np.ix_([2, 0], [2, 0])], atol=1e-12)


def test_tables_hold_every_pair_and_the_nearest_other() -> None:
    cosines = np.array([[1.0, 0.5, -0.9], [0.5, 1.0, 0.1], [-0.9, 0.1, 1.0]])
    found = EngramCosines(cosines, np.array([1.0, 2.0, 3.0]), ("a", "b", "c"), ("x",))
    table = found.table().set_index(["concept", "other"])["cosine"]
    assert len(table) == 9 and table["a", "c"] == table["c", "a"] == -0.9
    near = found.nearest()
    assert list(near["nearest"]) == ["b", "a", "b"] and list(near["cosine"]) == [0.5, 0.5, 0.1]
    assert list(near["norm"]) == [1.0, 2.0, 3.0]
    alone = EngramCosines(np.ones((1, 1)), np.ones(1), ("a",), ("x",)).nearest()
    assert alone["nearest"][0] == "" and np.isnan(alone["cosine"][0])


def test_what_is_not_there_is_refused() -> None:
    atlas = case_of("few rows").atlas
    with pytest.raises(UnknownNameError, match="'z'"):
        engram_cosines(atlas, concepts=["z"])
    with pytest.raises(DataError, match="none to measure"):
        engram_cosines(atlas, concepts=[])


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_cosines_of_sharpened_engrams_are_those_of_the_sharpened_dense_ones(power: float) -> None:
    """These are kept as rows, whose weights at this sharpness stand between the two factors."""
    plain = case_of("without bias").atlas
    atlas = plain.sharpen(power)
    assert not any(atlas.trace(layer, c).folded for layer in atlas.layers for c in "abc")
    flat = torch.stack(
        [torch.cat([atlas[c].matrix(n).double().flatten() for n in atlas.layers]) for c in "abc"]
    )
    norms = flat.norm(dim=1)
    found = engram_cosines(atlas)
    np.testing.assert_allclose(found.cosines, (flat @ flat.mT / norms[:, None] / norms).numpy(), atol=1e-6)
    np.testing.assert_allclose(found.norms, norms.numpy(), rtol=1e-6)
    assert not np.allclose(found.norms, engram_cosines(plain).norms, rtol=1e-3)
