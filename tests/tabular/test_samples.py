"""The wine sample: its data, its accuracy, and what its files promise of an erased variety."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

import engram_core as ec
from engram_core.errors import DataError, StorageError
from engram_core.opening.samples import sample_folder
from engram_core.tabular.samples import load_table_sample


@pytest.fixture(scope="module")
def wine() -> ec.Sample:
    return ec.load_sample("wine-mlp")


def test_every_wine_is_recorded_or_held_out_and_in_the_table_s_units(wine) -> None:
    parts = [part for each in wine.concepts.values() for part in (each.record, each.probe)]
    shown = wine.features.shown(np.concatenate(parts))
    expected = load_wine().data
    np.testing.assert_allclose(np.sort(shown, 0), np.sort(expected, 0), rtol=1e-4, atol=1e-4)
    record = np.concatenate([each.record for each in wine.concepts.values()])
    np.testing.assert_allclose(record.mean(0), 0, atol=1e-5)


def test_accuracy_is_that_of_its_files(wine) -> None:
    score = wine.task.measure(wine.model, wine.concepts).score
    assert {name: round(value, 4) for name, value in score.items()} == wine.metrics["held_out"]["per_class"]


def test_an_erased_variety_goes_and_the_others_stay_as_explorer_json_says(wine) -> None:
    start = json.loads((sample_folder("wine-mlp") / "explorer.json").read_text())
    atlas = ec.extract(wine.model, ec.record(wine.model, wine.concepts))
    before = wine.task.measure(wine.model, wine.concepts).score
    for name in wine.concepts:
        after = wine.task.measure(
            atlas.apply(wine.model, erase={name: start["strength"]}), wine.concepts
        ).score
        assert after[name] == 0.0
        assert all(after[other] >= before[other] for other in wine.concepts if other != name)


def test_it_takes_wines_of_one_s_own(wine, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variety", *wine.features.names, "price"])
        for row, target in zip(load_wine().data[::4], load_wine().target[::4], strict=True):
            writer.writerow([list(wine.concepts)[target].lower(), *row, 9])
    mine = ec.load_subject("wine-mlp", path, label="variety")
    assert list(mine.concepts) == list(wine.concepts) and mine.features == wine.features
    with pytest.raises(DataError, match="no language model|there is no column"):
        ec.load_subject("wine-mlp", path, label="colour")


def test_other_data_of_that_name_are_refused(wine) -> None:
    config = wine.config | {"data": wine.config["data"] | {"sha256": "0" * 64}}
    with pytest.raises(StorageError, match="not those that the model"):
        load_table_sample(wine.folder, config)
    with pytest.raises(StorageError, match="does not say what each feature is"):
        load_table_sample(wine.folder, {k: v for k, v in wine.config.items() if k != "features"})
