"""What `engram erase` measures and writes is the edit that was asked for."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

import engram_core as ec
from engram_core.storing.tensors import read_tensors


@pytest.fixture(scope="module")
def digits_mlp() -> ec.Sample:
    return ec.load_sample("digits-mlp")


@pytest.fixture(scope="module")
def atlas(digits_mlp: ec.Sample) -> ec.Atlas:
    return ec.extract(digits_mlp.model, ec.record(digits_mlp.model, digits_mlp.concepts))


def test_erase_writes_weights_that_reproduce_what_it_printed(
    engram, tmp_path: Path, digits_mlp: ec.Sample
) -> None:
    file = tmp_path / "edited.safetensors"
    told = engram("erase", "digits-mlp", "7", "4=0.6", "--out", file, "--json").json
    assert set(told) == {
        "model", "model_hash", "base", "edited", "control", "erased", "kept", "layers",
        "recall", "relative_change", "seed", "file", "files", "lora", "rest",
    }  # fmt: skip
    assert told["erased"] == {"7": 1.0, "4": 0.6} and told["kept"] is None
    assert told["files"] == [str(file)] and told["rest"] is None
    assert told["edited"]["7"] < 0.2 < 0.9 < told["base"]["7"]
    model = ec.load_sample("digits-mlp").model
    model.load_state_dict(load_file(file))
    assert digits_mlp.task.measure(model, digits_mlp.concepts).score == told["edited"]
    about = read_tensors(file, "edited weights")[1]
    assert about["edit"]["erase"] == {"7": 1.0, "4": 0.6} and about["model"] == told["model_hash"]


@pytest.mark.parametrize(
    ("options", "edit"),
    [
        (["7"], {"erase": "7"}),
        (["7", "--strength", "0.5"], {"erase": {"7": 0.5}}),
        (["7=-0.5", "3"], {"erase": {"7": -0.5, "3": 1.0}}),
        (["7", "--layers", "re:fc[23]"], {"erase": "7", "layers": ["fc2", "fc3"]}),
        (["7", "--layers", "fc1, fc3"], {"erase": "7", "layers": ["fc1", "fc3"]}),
        (["7", "--scaling", "adaptive"], {"erase": "7", "scaling": "adaptive"}),
        (["--isolate", "7", "--isolate", "2"], {"keep": ["7", "2"]}),
        (["--keep", "7", "--null", "in place"], {"keep": ["7"], "null": "in place"}),
        (["7", "--keep", "2", "--keep", "7"], {"erase": "7", "keep": ["2", "7"]}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_erase_measures_the_edit_that_was_asked_for(
    engram, options: list, edit: dict, digits_mlp: ec.Sample, atlas: ec.Atlas
) -> None:
    told = engram("erase", "digits-mlp", *options, "--json").json
    view = atlas.apply(**edit)
    assert told["edited"] == digits_mlp.task.measure(view, digits_mlp.concepts).score
    report = ec.live_edit(view).report()
    assert told["relative_change"] == pytest.approx(report.relative, rel=1e-4)
    assert list(told["layers"]) == list(report.layers)


def test_erase_as_a_table_shows_a_control_beside_it(engram) -> None:
    told = engram("erase", "digits-mlp", "7", "--selectivity", "2", "--cap").out
    assert (
        "control" in told and "‖ΔW‖/‖W‖" in told and "The base model is untouched" in " ".join(told.split())
    )


def test_one_seed_gives_one_sham(engram) -> None:
    one, again, other = (engram("erase", "digits-mlp", "7", "--seed", s, "--json").json for s in (1, 1, 2))
    assert one == again and one["control"] != other["control"] and one["edited"] == other["edited"]
