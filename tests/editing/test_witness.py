"""Before an edit is in force, a view of its own shows that it acts; what was shown is not shown again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cases import EDITS, case_of
from helpers import relative, structured
from torch import nn

import engram_core as ec
from engram_core.editing import placement as module
from engram_core.editing.bake import baked
from engram_core.editing.change import Change
from engram_core.editing.placement import place
from engram_core.editing.stacks import Stacks
from engram_core.editing.witness import witness
from engram_core.errors import EffectError


def made(wide: bool = False) -> ec.Atlas:
    torch.manual_seed(1)
    sizes = (40, 30, 20) if wide else (6, 5, 4)
    model = nn.Sequential(nn.Linear(*sizes[:2]), nn.ReLU(), nn.Linear(*sizes[1:])).double()
    return ec.extract(model, ec.record(model, {n: structured(i, 3, sizes[0]) for i, n in enumerate("ab")}))


def changed(atlas: ec.Atlas, taken: dict[str, float]) -> Change:
    layers = tuple(atlas.layers)
    return Change(atlas, layers, taken, dict.fromkeys(layers, 1.0), True)


def shown(atlas: ec.Atlas, taken: dict[str, float]) -> nn.Module | None:
    change, stacks = changed(atlas, taken), Stacks(atlas)
    placed = place(change)
    products = {
        source: (stacks.product(linear_maps, change), linear_maps)
        for source, linear_maps in placed.products.items()
    }
    return witness(atlas.model, change, placed, products, stacks)


@pytest.mark.parametrize("products", [False, True])
def test_the_witness_holds_the_edit_and_its_base_nothing_of_it(products: bool, monkeypatch) -> None:
    if products:
        monkeypatch.setattr(module, "_SMALL_EDIT", 0)
    atlas = made(wide=True)
    x = structured(7, 5, 40)
    with torch.no_grad():
        before = atlas.model(x)
        view = shown(atlas, {"a": 1.0})
        assert view is not None and torch.equal(atlas.model(x), before)
        assert relative(view(x), baked(atlas.model, changed(atlas, {"a": 1.0}))(x)) < 1e-9


def test_what_is_known_to_act_is_not_shown_again_in_that_form(monkeypatch) -> None:
    atlas = made(wide=True)
    assert shown(atlas, {"a": 1.0}) is not None
    assert shown(atlas, {"b": 2.0}) is None
    monkeypatch.setattr(module, "_SMALL_EDIT", 0)  # another form: by products
    assert shown(atlas, {"a": 1.0}) is not None
    assert shown(atlas, {"b": 2.0}) is None


def test_an_edit_that_does_not_act_is_refused_and_not_remembered() -> None:
    atlas = made()
    layer = atlas.model[0]
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    layer.forward = lambda x: F.linear(x, weight, bias)  # whatever the layer holds
    for _ in range(2):
        with pytest.raises(EffectError, match="layer '0' does not act"):
            shown(atlas, {"a": 1.0})
    del layer.forward
    assert shown(atlas, {"a": 1.0}) is not None


def test_the_cases_of_the_table_are_known_after_they_were_applied() -> None:
    case = case_of("few rows")
    case.atlas.apply(**EDITS["one"].options)
    assert shown(case.atlas, {"a": 0.5}) is None
