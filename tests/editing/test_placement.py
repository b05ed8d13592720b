"""Where an edit goes: into the weights where that is smaller, into thin products otherwise."""

from __future__ import annotations

import pytest
from cases import EDITS, case_of
from helpers import structured
from torch import nn

import engram_core as ec
from engram_core.editing import placement as module
from engram_core.editing.change import Change
from engram_core.editing.placement import place


@pytest.fixture
def wide() -> ec.Atlas:
    """Two readers of one input and one of another, much wider than there are rows."""

    class Readers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.out = nn.Linear(40, 30), nn.Linear(40, 30), nn.Linear(30, 20)

        def forward(self, x):
            return self.out(self.q(x) * self.k(x))

    model = Readers().double()
    return ec.extract(model, ec.record(model, {n: structured(i, 3, 40) for i, n in enumerate("ab")}))


def change(atlas: ec.Atlas, taken: dict[str, float], keeps: bool = True, **factors: float) -> Change:
    layers = tuple(atlas.layers)
    return Change(atlas, layers, taken, dict.fromkeys(layers, 1.0) | factors, keeps)


def names(linear_maps) -> list[str]:
    return [linear_map.name for linear_map in linear_maps]


def test_small_edits_go_into_the_weights(wide: ec.Atlas) -> None:
    found = place(change(wide, {"a": 1.0}))
    assert names(found.weights) == ["q", "k", "out"] and not found.products


def test_of_a_large_edit_few_rows_stay_thin_and_readers_of_one_input_share_them(wide, monkeypatch) -> None:
    monkeypatch.setattr(module, "_SMALL_EDIT", 0)
    found = place(change(wide, {"a": 1.0}))
    assert not found.weights and [names(linear_maps) for linear_maps in found.products.values()] == [
        ["q", "k"],
        ["out"],
    ]
    # 2 · 3 rows of two concepts against 20 outputs; with three times as many the weights are smaller.
    both = place(change(wide, {"a": 1.0, "b": 2.0}))
    assert [names(linear_maps) for linear_maps in both.products.values()] == [["q", "k"], ["out"]]


def test_rows_as_many_as_outputs_go_into_the_weights(monkeypatch) -> None:
    monkeypatch.setattr(module, "_SMALL_EDIT", 0)
    case = case_of("few rows")  # twice 2 rows: fewer than 8 outputs, and not than 2 · 2 · 2 of two concepts
    thin = place(case.change(EDITS["one"]))
    assert [names(linear_maps) for linear_maps in thin.products.values()] == [["0"], ["2"]]
    full = place(case.change(EDITS["two strengths"]))
    assert names(full.weights) == ["0", "2"] and not full.products


def test_moments_and_layers_that_are_read_past_their_module_go_into_the_weights(wide, monkeypatch) -> None:
    monkeypatch.setattr(module, "_SMALL_EDIT", 0)
    folded = place(case_of("many rows").change(EDITS["one"]))
    assert names(folded.weights) == ["0", "2"] and not folded.products
    fused = place(change(wide, {"a": 1.0}), fused=("k",))
    assert names(fused.weights) == ["k"] and [names(s) for s in fused.products.values()] == [["q"], ["out"]]


def test_layers_without_a_part_in_the_edit_are_left_alone_unless_they_start_from_nothing(wide) -> None:
    assert names(place(change(wide, {"a": 1.0}, k=0.0)).weights) == ["q", "out"]
    assert names(place(change(wide, {"a": -1.0}, False, k=0.0)).weights) == ["q", "k", "out"]
    assert names(place(change(wide, {}, False)).weights) == ["q", "k", "out"]


def test_a_form_tells_apart_all_but_the_weights_of_the_rows(wide) -> None:
    form = place(change(wide, {"a": 1.0})).form
    assert place(change(wide, {"a": -3.0})).form == form
    others = [
        change(wide, {"b": 1.0}), change(wide, {"a": 1.0}, False), change(wide, {"a": 1.0, "b": 1.0}),
        change(wide, {"a": 1.0}, out=0.5),
    ]  # fmt: skip
    assert len({form, *(place(other).form for other in others)}) == 5
