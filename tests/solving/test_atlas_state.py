"""A saved atlas comes back as it was, with its sharpness, its layers and its concepts, or is refused."""

from pathlib import Path

import pytest
import torch
from helpers import Case, structured
from saved_atlas import assert_same_atlas, few
from torch import nn

import engram_core as ec
from engram_core.errors import EngramError
from engram_core.recording.recording import Recording
from engram_core.solving.atlas_state import atlas_bytes


@pytest.mark.parametrize("sharp", [ec.Sharpness(2.0), ec.Sharpness(1.5, clip=True)], ids=str)
@pytest.mark.parametrize("count", [2, None], ids=["dual", "primal"])
def test_sharpness_comes_back(digits: Case, sharp: ec.Sharpness, count: int | None, tmp_path) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, few(digits, count)), sharpness=sharp)
    atlas.save(tmp_path / "a")
    loaded = ec.Atlas.load(tmp_path / "a", digits.model)
    assert_same_atlas(loaded, atlas)
    assert_same_atlas(loaded.sharpen(3.0), atlas.sharpen(3.0))  # any other can be had from the file


def test_double_precision_comes_back(tmp_path: Path) -> None:
    model = nn.Linear(6, 4, dtype=torch.float64)
    concepts = {"a": structured(0, 3, 6), "b": structured(1, 30, 6) + 1}
    recording = ec.record(model, concepts)
    atlas = ec.extract(model, recording)
    recording.save(tmp_path / "r")
    atlas.save(tmp_path / "a")
    loaded = ec.Atlas.load(tmp_path / "a", model)
    assert loaded["a"].matrix("Linear").dtype == torch.float64
    assert_same_atlas(loaded, atlas)
    assert_same_atlas(ec.extract(model, Recording.load(tmp_path / "r")), atlas)


def test_chosen_layers_concepts_and_the_cut_come_back(digits: Case, tmp_path: Path) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, few(digits, 20)), layers=["2"], cut=1e-3)
    atlas.save(tmp_path / "a", concepts=["7", "4"])
    loaded = ec.Atlas.load(tmp_path / "a", digits.model)
    assert loaded.concepts == ("7", "4") and loaded.layers == ["2"]
    assert loaded.spectrum("2").cut == 1e-3
    assert torch.equal(loaded["7"].matrix("2"), atlas["7"].matrix("2"))


@pytest.mark.parametrize("names", [None, ["3", "7"]], ids=["all", "two"])
@pytest.mark.parametrize("count", [8, None], ids=["rows", "moments"])
def test_the_size_of_a_file_is_known_before_it_is_written(digits: Case, count, names, tmp_path: Path) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, few(digits, count)))
    atlas.save(tmp_path / "atlas", concepts=names)
    written = (tmp_path / "atlas").stat().st_size
    assert atlas_bytes(atlas, names) == pytest.approx(written, rel=0.3)


def test_an_unknown_concept_is_not_saved(digits: Case, tmp_path: Path) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, few(digits, 3)))
    with pytest.raises(EngramError, match="Unknown concept '77'. Did you mean '7'"):
        atlas.save(tmp_path / "a", concepts=["77"])
    assert not list(tmp_path.iterdir())


def test_an_atlas_loaded_for_a_view_belongs_to_its_base(digits: Case, tmp_path: Path) -> None:
    atlas = ec.extract(digits.model, ec.record(digits.model, few(digits, 60)))
    atlas.save(tmp_path / "a")
    assert_same_atlas(ec.Atlas.load(tmp_path / "a", atlas.apply(erase=["7"])), atlas)
