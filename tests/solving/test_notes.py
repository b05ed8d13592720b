"""An engram of rows that one giant dominates says so where it is shown."""

import re

import pytest
import torch
from torch import nn

import engram_core as ec


def _atlas(scale: float, inputs: int = 81):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 9, bias=False)).eval()
    big = torch.randn(1, 64) * scale
    data = {name: torch.cat([big, torch.randn(inputs - 1, 64)]) for name in ("a", "b")}
    return ec.extract(model, ec.record(model, data))


def test_a_giant_row_is_noted_with_its_numbers():
    (note,) = _atlas(3e3).notes
    found = re.search(r"Layer '0': the cut keeps (\d+) of (\d+) directions.* ([\d,]+) times", note)
    assert found and int(found[1]) == 1 and int(found[2]) == 64
    assert 500 < int(found[3].replace(",", "")) < 10_000


def test_the_dual_form_notes_it_too():
    (note,) = _atlas(3e3, inputs=20).notes
    assert re.search(r"the cut keeps [12] of \d+ directions", note)


@pytest.mark.parametrize("inputs", [20, 81])
def test_ordinary_rows_are_not_noted(inputs):
    assert _atlas(1.0, inputs).notes == ()
    assert _atlas(10.0, inputs).notes == ()


def test_rows_of_few_directions_are_not_noted():
    """A total of low rank is no sign of a giant: what is left out is float64's own noise."""
    model = nn.Sequential(nn.Linear(64, 9, bias=False)).eval()
    thin = torch.randn(200, 3) @ torch.randn(3, 64)
    assert ec.extract(model, ec.record(model, {"a": thin[:100], "b": thin[100:]})).notes == ()


def test_it_is_still_noted_from_a_file(tmp_path):
    atlas = _atlas(3e3)
    atlas.save(tmp_path / "a.safetensors")
    assert ec.Atlas.load(tmp_path / "a.safetensors", atlas.model).notes == atlas.notes
