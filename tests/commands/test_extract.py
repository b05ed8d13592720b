"""`engram extract` writes the atlas that the library makes."""

from pathlib import Path

import pytest

import engram_core as ec


@pytest.fixture(scope="module")
def digits_mlp() -> ec.Sample:
    return ec.load_sample("digits-mlp")


@pytest.fixture(scope="module")
def atlas(digits_mlp: ec.Sample) -> ec.Atlas:
    return ec.extract(digits_mlp.model, ec.record(digits_mlp.model, digits_mlp.concepts))


def test_extract_writes_an_atlas_of_the_chosen_layers(
    engram, tmp_path: Path, digits_mlp: ec.Sample, atlas
) -> None:
    file = tmp_path / "atlas.safetensors"
    told = engram(
        "extract", "digits-mlp", "-o", file, "--layers", "re:fc[12]", "--sharpness", "1.5", "--clip", "--json"
    ).json
    assert set(told) == {"model", "model_hash", "file", "sharpness", "layers", "notes", "engrams"}
    assert list(told["layers"]) == ["fc1", "fc2"] and told["sharpness"] == {"power": 1.5, "clip": True}
    assert set(told["layers"]["fc1"]) == {"form", "cut", "width", "kept"}
    assert set(told["engrams"][0]) == {
        "layer", "concept", "norm", "relative", "rank", "leak", "residue", "error",
    }  # fmt: skip
    loaded = ec.Atlas.load(file, digits_mlp.model)
    assert loaded.layers == ["fc1", "fc2"]
    assert loaded["7"].norm("fc1") == pytest.approx(atlas.sharpen(1.5, clip=True)["7"].norm("fc1"), rel=1e-5)


def test_the_cut_reaches_the_solve(engram) -> None:
    told = engram("extract", "digits-mlp", "--layers", "fc2", "--cut", "0.01", "--json").json
    assert told["layers"]["fc2"]["cut"] == 0.01 and told["layers"]["fc2"]["kept"][0] < 60


def test_tables_of_record_and_extract_are_for_people(engram, tmp_path: Path) -> None:
    assert "fc3" in engram("record", "digits-mlp", "-o", tmp_path / "r").out
    told = engram("extract", "digits-mlp", "--recording", tmp_path / "r", "-o", tmp_path / "a").out
    assert "‖E‖/‖W‖" in told and f"wrote {tmp_path}" in told.replace("\n", "")
