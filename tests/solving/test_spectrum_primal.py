"""The solve of width × width: the same engram as of the rows."""

import pytest
import torch
from helpers import (
    EPS32,
    engram_by_hand,
    homogeneous,
    matrix_of,
    orthogonal,
    pinv_under_cut,
    relative,
    structured,
)
from torch import nn
from worlds import LAYER

import engram_core as ec
from engram_core.solving.spectrum_dual import DualForm


@pytest.mark.parametrize(("smallest", "taken"), [(1e-4, True), (0.9 * 40 * EPS32, False), (0.0, False)])
def test_the_cholesky_shortcut_is_taken_only_when_nothing_is_cut(
    smallest: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [1.0, 0.5, 0.1, smallest]
    rows = (torch.tensor(values, dtype=torch.float64).sqrt()[:, None] * orthogonal(4, 40)).float()
    rows = orthogonal(4, 4, seed=1).float() @ rows  # no row is an eigenvector by itself
    layer = nn.Linear(40, 5, bias=False)
    recording = ec.record(layer, {"a": rows[:2], "b": rows[2:]})
    calls: list[int] = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda *args: calls.append(1) or eigh(*args))
    short = ec.extract(layer, recording)["a"].matrix(LAYER)
    assert (not calls) == taken
    monkeypatch.setattr(DualForm, "_full_rank_inverse", lambda self, gram: None)
    long = ec.extract(layer, recording)["a"].matrix(LAYER)
    assert calls
    assert relative(short, long) < 1e-5
    assert relative(long[0], engram_by_hand(matrix_of(layer), rows[:2], rows)) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duals_of_the_primal_form_are_made_when_asked_for(dtype: torch.dtype, tmp_path) -> None:
    layer = nn.Linear(20, 5, dtype=dtype)
    rows = structured(3, 90, 20).to(dtype)
    concepts = {"a": rows[:8], "b": rows[8:25], "c": rows[25:]}
    recording = ec.record(layer, concepts)
    atlas = ec.extract(layer, recording)
    assert atlas.spectrum(LAYER).form == "primal" and atlas.trace(LAYER, "c").folded
    for name in "ab":
        trace, before = atlas.trace(LAYER, name), atlas.nbytes
        own = homogeneous(concepts[name], True).double()
        expected = own @ pinv_under_cut(
            homogeneous(rows, True).double().mT @ homogeneous(rows, True).double()
        )
        assert relative(trace.duals[0].double(), expected) < (1e-9 if dtype == torch.float64 else 1e-5)
        assert atlas.nbytes == before + trace.duals.numel() * trace.duals.element_size()
    fresh = ec.extract(layer, recording)
    fresh.save(tmp_path / "atlas.safetensors")  # asks for all that nobody asked for yet
    again = ec.Atlas.load(tmp_path / "atlas.safetensors", layer)
    for name in "ab":
        assert torch.equal(again.trace(LAYER, name).duals, atlas.trace(LAYER, name).duals)
