"""The solve of rows × rows: the same engram as of the width."""

import pytest
import torch
from helpers import (
    relative,
    structured,
)
from hypothesis import given
from torch import nn
from worlds import LAYER, World, tolerance, worlds

import engram_core as ec


@given(worlds(solve="dual"))
def test_dual_and_primal_agree(world: World) -> None:
    """Every row thirty times is the same engram, and pushes the dual form over to the primal one."""
    often = {name: torch.cat([x] * 30) for name, x in world.concepts.items()}
    dual, primal = world.atlas(), World(world.layer, often).atlas()
    assert (dual.spectrum(LAYER).form, primal.spectrum(LAYER).form) == ("dual", "primal")
    for name in world.concepts:
        assert relative(dual[name].matrix(LAYER), primal[name].matrix(LAYER)) < tolerance(world)
        assert dual[name].norm(LAYER) == pytest.approx(
            primal[name].norm(LAYER), rel=tolerance(world), abs=1e-12
        )
        one, two = (a.trace(LAYER, name).exclusivity[0] for a in (dual, primal))
        shared = min(len(one), len(two))
        # In float32 an exclusivity next to the cut is known to a few thousandths and no better.
        near = 1e-7 if world.precise else 5e-3
        assert torch.allclose(one[:shared], two[:shared], atol=near)
        assert not one[shared:].abs().gt(near).any() and not two[shared:].abs().gt(near).any()


def test_rows_are_held_once_and_duals_are_made_when_asked_for() -> None:
    layer = nn.Linear(60, 5, bias=False)
    rows = structured(3, 24, 60).float()
    recording = ec.record(layer, {"a": rows[:8], "b": rows[8:]})
    atlas = ec.extract(layer, recording)
    for name in "ab":
        kept, seen = atlas.trace(LAYER, name).rows, recording.sources[0].statistics_of(name).rows()
        assert kept.untyped_storage().data_ptr() == seen.untyped_storage().data_ptr()
        assert torch.equal(kept, seen)
    before = atlas.nbytes
    duals = atlas.trace(LAYER, "a").duals
    assert atlas.nbytes == before + duals.numel() * duals.element_size()
    # What was let go is solved again, to the same numbers.
    spectrum = atlas.spectrum(LAYER)
    again = spectrum.times_pinv(atlas.trace(LAYER, "a").rows)
    assert relative(duals, again) < 1e-5
    spectrum.let_go()
    assert torch.equal(spectrum.times_pinv(atlas.trace(LAYER, "a").rows), again)
