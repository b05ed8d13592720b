"""`engram record` writes a recording that `engram extract` goes on with; no other file is taken for one."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import engram_core as ec
from engram_core.storing.tensors import write_tensors


@pytest.fixture(scope="module")
def digits_mlp() -> ec.Sample:
    return ec.load_sample("digits-mlp")


def test_record_then_extract_is_extract(engram, tmp_path: Path, digits_mlp: ec.Sample) -> None:
    file = tmp_path / "digits.safetensors"
    told = engram("record", "digits-mlp", "--out", file, "--json").json
    assert set(told) == {"model", "model_hash", "file", "inputs", "rows", "skipped"}
    assert told["file"] == str(file) and sum(told["inputs"].values()) == told["rows"]["fc1"] == 1438
    assert told["model_hash"] == ec.model_hash(digits_mlp.model)
    from_file = engram("extract", "digits-mlp", "--recording", file, "--json").json
    at_once = engram("extract", "digits-mlp", "--json").json
    assert from_file["layers"] == at_once["layers"]
    keys = ["layer", "concept"]
    one, two = (pd.DataFrame(told["engrams"]).set_index(keys) for told in (from_file, at_once))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4, atol=1e-9)


def test_a_recording_of_another_model_is_refused(engram, tmp_path: Path) -> None:
    model = torch.nn.Linear(5, 2)
    ec.record(model, {"a": torch.rand(3, 5)}).save(tmp_path / "r")
    told = engram("extract", "digits-mlp", "--recording", tmp_path / "r")
    assert told.code == 2 and "This belongs to another model" in told.err


def test_a_file_of_another_kind_is_refused(engram, tmp_path: Path) -> None:
    write_tensors(tmp_path / "w", {"a": torch.rand(2)}, {"kind": "edited weights"})
    told = engram("extract", "digits-mlp", "--recording", tmp_path / "w")
    assert told.code == 2 and "holds an edited weights; expected a recording" in told.err
