"""`engram samples` lists what there is, without loading a model."""

import pytest
import torch

import engram_core as ec
from engram_core.language import smollm2
from engram_core.vision import samples

DIGITS = [str(i) for i in range(10)]


@pytest.fixture(scope="module")
def digits_mlp() -> ec.Sample:
    return ec.load_sample("digits-mlp")


def test_samples(engram, digits_mlp: ec.Sample) -> None:
    rows = {row["name"]: row for row in engram("samples", "--json").json["samples"]}
    assert set(rows) == set(ec.sample_names()) >= {"digits-mlp", "fashion-cnn"}
    mine = rows["digits-mlp"]
    assert mine["concepts"] == DIGITS and mine["model_hash"] == ec.model_hash(digits_mlp.model)
    assert mine["scores"] == {"test accuracy": digits_mlp.metrics["test"]["accuracy"]}
    assert mine["parameters"] == 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    assert "digits-mlp" in engram("samples").out


def test_samples_are_listed_without_loading_a_model(engram, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("weights were read to list the samples")

    monkeypatch.setattr(torch.nn.Module, "load_state_dict", refuse)
    monkeypatch.setattr(samples, "checked_bytes", refuse)
    monkeypatch.setattr(smollm2.PackagedModel, "load", refuse)
    rows = engram("samples", "--json").json["samples"]
    assert [row["name"] for row in rows] == ec.sample_names()
    assert all(row["concepts"] and row["parameters"] and row["scores"] for row in rows)
