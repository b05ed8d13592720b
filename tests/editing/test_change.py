"""What an edit comes to in every layer, against dense matrices in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cases import CASES, EDITS, Edited, case_of
from helpers import relative, structured
from torch import nn

import engram_core as ec
from engram_core.editing.change import Change, LayerFactors, edit_sizes, layer_factors
from engram_core.editing.edit import Edit
from engram_core.editing.placement import place
from engram_core.editing.weights import adopt_weights, restore_weights, write_matrix
from engram_core.models.view import shared_copy


@pytest.fixture(scope="module")
def atlas() -> ec.Atlas:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 40), nn.ReLU(), nn.Linear(40, 4), nn.Linear(4, 3))
    x = structured(5, 24, 60).float()
    return ec.extract(model, ec.record(model, {"a": x[:8], "b": x[8:16], "c": x[16:]}))


GIVEN = {
    "erase": {"erase": {"a": 1.5, "b": -0.5}},
    "keep": {"keep": "a"},
    "in place": {"keep": "a", "null": "in place"},
    "adaptive": {"erase": {"a": 1.5}, "scaling": "adaptive"},
    "clipped": {"erase": {"a": 3.0}},
}


def change(atlas: ec.Atlas, edit: Edit) -> Change:
    taken = edit.taken(atlas.concepts)
    return Change(atlas, edit.layers, taken, LayerFactors(atlas).factors(edit, taken), not edit.from_nothing)


@pytest.mark.parametrize("options", GIVEN.values(), ids=GIVEN.keys())
def test_the_edited_matrix_is_the_formula(atlas, options) -> None:
    atlas = atlas.sharpen(1.0, clip=True) if options is GIVEN["clipped"] else atlas
    edit = Edit.of(atlas, **options)
    now, factors = change(atlas, edit), layer_factors(atlas, edit)
    sizes = edit_sizes(atlas, edit)
    for layer in atlas.layers:
        matrix = atlas.matrix(layer)
        wanted = torch.zeros_like(matrix) if edit.from_nothing else matrix.clone()
        for name, strength in edit.taken(atlas.concepts).items():
            wanted -= factors[layer] * atlas.dense(layer, name, strength)
        assert relative(now.matrix(layer), wanted) < 1e-5
        assert now.size(layer) == pytest.approx(float((matrix - wanted).norm()), rel=1e-3)
        if not edit.from_nothing:
            assert now.size(layer) == pytest.approx(sizes[layer], rel=1e-6)


def test_adaptive_factors_are_those_of_any_multiple_of_the_strengths(atlas, monkeypatch) -> None:
    factors = LayerFactors(atlas)
    one, two = (Edit.of(atlas, erase={"a": s, "b": 2 * s}, scaling="adaptive") for s in (1.0, 3.0))
    found = factors.factors(one, one.taken(atlas.concepts))
    assert found == layer_factors(atlas, one) and max(found.values()) == 1.0
    monkeypatch.setattr("engram_core.editing.change.layer_factors", None)  # not asked again
    assert factors.factors(two, two.taken(atlas.concepts)) == found


@pytest.mark.parametrize(("smallest", "weights"), [(1 << 22, ["0", "2", "3"]), (0, ["2", "3"])])
def test_small_edits_and_narrow_layers_go_into_the_weights(atlas, monkeypatch, smallest, weights) -> None:
    monkeypatch.setattr("engram_core.editing.placement._SMALL_EDIT", smallest)
    placement = place(change(atlas, Edit.of(atlas, erase="a")))
    assert [linear_map.name for linear_map in placement.weights] == weights
    placed = [linear_map.name for group in placement.products.values() for linear_map in group]
    assert sorted(placed + weights) == atlas.layers
    again = place(change(atlas, Edit.of(atlas, erase={"a": 0.3})))
    assert again.form == placement.form
    assert place(change(atlas, Edit.of(atlas, erase="b"))).form != placement.form


def test_weights_are_written_adopted_and_given_back_without_touching_the_base(atlas) -> None:
    base, before = atlas.model, {k: v.clone() for k, v in atlas.model.state_dict().items()}
    one, two = shared_copy(base), shared_copy(base)
    linear_map = atlas.linear_map("0")
    write_matrix(one, linear_map, 2 * atlas.matrix("0"))
    assert adopt_weights(two, one, linear_map)
    assert two[0].weight is one[0].weight and torch.equal(two[0].weight, 2 * base[0].weight)
    assert not adopt_weights(two, one, linear_map)  # it holds them already
    restore_weights(two, base, linear_map)
    assert two[0].weight.data_ptr() == base[0].weight.data_ptr()
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items())


every = pytest.mark.parametrize(("name", "edit"), [(n, e) for n in CASES for e in EDITS.values()],
                                ids=[f"{n}: {e}" for n in CASES for e in EDITS])  # fmt: skip


@every
def test_the_edited_matrix_is_the_dense_one(name: str, edit: Edited) -> None:
    case = case_of(name)
    change = case.change(edit)
    assert change.acts
    for layer in case.weights:
        assert relative(change.matrix(layer), case.edited(layer, edit)) < 1e-6, layer


@every
def test_the_size_of_a_change_is_the_norm_of_the_difference(name: str, edit: Edited) -> None:
    case = case_of(name)
    change = case.change(edit)
    for layer, weight in case.weights.items():
        # A factor scales what is taken away; keeping from nothing has none.
        expected = float((weight - case.edited(layer, edit)).norm())
        assert change.size(layer) == pytest.approx(expected, rel=1e-6), layer


@every
def test_factors_and_sizes_follow_the_definition(name: str, edit: Edited) -> None:
    case = case_of(name)
    made = Edit.of(case.atlas, **edit.options)
    factors, sizes = layer_factors(case.atlas, made), edit_sizes(case.atlas, made)
    assert list(factors) == list(sizes) == case.atlas.layers
    for layer in case.weights:
        assert factors[layer] == pytest.approx(case.factor(layer, edit), rel=1e-6)
        assert sizes[layer] == pytest.approx(factors[layer] * float(case.taken(layer, edit).norm()), rel=1e-6)
    assert max(factors.values()) == 1.0


def test_an_edit_that_takes_nothing_has_factors_of_one_and_no_size() -> None:
    case = case_of("many rows")
    nothing = Edit.of(case.atlas, erase={"a": 0.0}, scaling="adaptive")
    assert set(layer_factors(case.atlas, nothing).values()) == {1.0}
    assert set(edit_sizes(case.atlas, nothing).values()) == {0.0}
    still = case.change(EDITS["one"], taken={})
    assert not still.acts and still.size("0") == 0.0
    assert torch.equal(still.matrix("0"), case.atlas.matrix("0"))


def test_nothing_kept_of_nothing_is_zero_and_as_large_as_the_weights() -> None:
    case = case_of("few rows")
    empty = case.change(EDITS["kept from nothing"], taken={})
    assert empty.acts and not empty.matrix("0").any()
    assert empty.size("0") == pytest.approx(float(case.weights["0"].norm()))


def test_factors_are_made_once_for_all_strengths_that_are_multiples(monkeypatch) -> None:
    case, made = case_of("many rows"), []
    real = layer_factors
    monkeypatch.setattr("engram_core.editing.change.layer_factors", lambda *a: (made.append(1), real(*a))[1])
    factors = LayerFactors(case.atlas)
    edit = Edit.of(case.atlas, erase={"a": 1.0, "b": 2.0}, scaling="adaptive")
    first = factors.factors(edit, {"a": 1.0, "b": 2.0})
    twice = replace(edit, erase=(("a", 2.0), ("b", 4.0)))
    assert factors.factors(twice, {"a": 2.0, "b": 4.0}) == first == pytest.approx(real(case.atlas, twice))
    assert len(made) == 1
    first["0"] = -1.0  # what is handed out is the caller's
    other = replace(edit, erase=(("a", 2.0), ("b", 1.0)))
    assert factors.factors(other, {"a": 2.0, "b": 1.0}) == real(case.atlas, other) and len(made) == 2
    assert factors.factors(replace(edit, adaptive_power=3.0), {"a": 1.0, "b": 2.0}) != real(case.atlas, edit)
    assert (
        factors.factors(replace(edit, scaling="plain"), {"a": 1.0}) == {"0": 1.0, "2": 1.0} and len(made) == 3
    )


def test_a_clipped_filter_has_factors_of_its_own_for_every_strength() -> None:
    """There a strength of two is not twice the engram, so its factors are not those of strength one."""
    case = case_of("many rows")
    clipped = case.atlas.sharpen(1.5, clip=True)
    factors, edit = LayerFactors(clipped), Edit.of(clipped, erase={"a": 1.0}, scaling="adaptive")
    assert factors.factors(edit, {"a": 1.0}) == layer_factors(clipped, edit)
    strong = replace(edit, erase=(("a", 4.0),))
    assert (
        factors.factors(strong, {"a": 4.0}) == layer_factors(clipped, strong) != layer_factors(clipped, edit)
    )
