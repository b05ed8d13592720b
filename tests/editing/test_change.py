"""What an edit comes to, against the formula; and where it goes in a layer."""

import pytest
import torch
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


EDITS = {
    "erase": {"erase": {"a": 1.5, "b": -0.5}},
    "keep": {"keep": "a"},
    "in place": {"keep": "a", "null": "in place"},
    "adaptive": {"erase": {"a": 1.5}, "scaling": "adaptive"},
    "clipped": {"erase": {"a": 3.0}},
}


def change(atlas: ec.Atlas, edit: Edit) -> Change:
    taken = edit.taken(atlas.concepts)
    return Change(atlas, edit.layers, taken, LayerFactors(atlas).of(edit, taken), not edit.from_nothing)


@pytest.mark.parametrize("options", EDITS.values(), ids=EDITS.keys())
def test_the_edited_matrix_is_the_formula(atlas, options) -> None:
    atlas = atlas.sharpen(1.0, clip=True) if options is EDITS["clipped"] else atlas
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
    found = factors.of(one, one.taken(atlas.concepts))
    assert found == layer_factors(atlas, one) and max(found.values()) == 1.0
    monkeypatch.setattr("engram_core.editing.change.layer_factors", None)  # not asked again
    assert factors.of(two, two.taken(atlas.concepts)) == found


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
    linear_map = atlas.slot("0")
    write_matrix(one, linear_map, 2 * atlas.matrix("0"))
    assert adopt_weights(two, one, linear_map)
    assert two[0].weight is one[0].weight and torch.equal(two[0].weight, 2 * base[0].weight)
    assert not adopt_weights(two, one, linear_map)  # it holds them already
    restore_weights(two, base, linear_map)
    assert two[0].weight.data_ptr() == base[0].weight.data_ptr()
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items())
