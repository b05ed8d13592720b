"""A model on features from a folder, with a table: the same as a sample from there on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import engram_core as ec
from engram_core.errors import DataError, StorageError
from engram_core.vision.architectures import build

CONFIG = {"architecture": "mlp", "options": {"widths": [3, 4, 2]}, "classes": ["Yes", "No"]}
SCALED = {"names": ["c", "a", "b"], "mean": [10, 0, 1], "std": [2, 1, 4]}


def folder(tmp_path: Path, **more: object) -> Path:
    torch.manual_seed(0)
    place = tmp_path / "model"
    place.mkdir(exist_ok=True)
    config = {key: value for key, value in (CONFIG | more).items() if value is not None}
    (place / "config.json").write_text(json.dumps(config))
    model = build(CONFIG)
    save_file(dict(model.state_dict()), place / "model.safetensors")
    return place


def table(tmp_path: Path, head: str = "a,b,c,label", labels: tuple[str, ...] = ("yes", "NO")) -> Path:
    path = tmp_path / "table.csv"
    lines = [f"{i},{2 * i},{3 * i},{labels[i % len(labels)]}" for i in range(24)]
    path.write_text("\n".join([head, *lines]))
    return path


def test_a_folder_and_a_table_are_a_sample(tmp_path: Path) -> None:
    sample = ec.load_subject(folder(tmp_path), table(tmp_path))
    assert list(sample.concepts) == ["Yes", "No"] and sample.task.classes == ("Yes", "No")
    assert sample.features.names == ("a", "b", "c") and sample.image_shape is None
    assert [len(sample.concepts["Yes"].record), len(sample.concepts["Yes"].probe)] == [9, 3]
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    assert atlas.concepts == ("Yes", "No") or list(atlas.concepts) == ["Yes", "No"]


def test_features_of_the_config_say_their_order_and_scale(tmp_path: Path) -> None:
    sample = ec.load_subject(folder(tmp_path, features=SCALED), table(tmp_path))
    every = np.concatenate([sample.concepts["Yes"].record, sample.concepts["Yes"].probe])
    shown = np.sort(sample.features.shown(every), 0)
    np.testing.assert_allclose(shown[:2], [[0, 0, 0], [6, 2, 4]], atol=1e-5)
    named = ec.load_subject(folder(tmp_path, features=["c", "a", "b"]), table(tmp_path))
    assert named.features.names == ("c", "a", "b") and named.features.mean == (0.0, 0.0, 0.0)


def test_labels_may_be_numbers_of_outputs_and_classes_may_be_unknown(tmp_path: Path) -> None:
    numbers = table(tmp_path, labels=("0", "1"))
    assert list(ec.load_subject(folder(tmp_path), numbers).concepts) == ["Yes", "No"]
    assert list(ec.load_subject(folder(tmp_path, classes=None), numbers).concepts) == ["0", "1"]


def test_the_column_of_the_label_can_be_said(tmp_path: Path) -> None:
    path = table(tmp_path, head="a,b,c,what it is")
    assert ec.load_subject(folder(tmp_path), path, label="what it is").features.names == ("a", "b", "c")
    with pytest.raises(ec.UnknownNameError, match="A model on features takes no option 'positions'"):
        ec.load_subject(folder(tmp_path), path, positions="all")


@pytest.mark.parametrize(
    ("more", "head", "labels", "error", "said"),
    [
        ({}, "a,b,c,label", ("maybe", "perhaps"), DataError, "2 labels are no output of this model"),
        ({"features": ["a", "b"]}, "a,b,c,label", ("yes",), DataError, "reads 3 numbers .* 2 features: a, b"),
        ({"features": ["a", "b", "z"]}, "a,b,c,label", ("yes",), DataError, "there is no column z"),
        (
            {"features": {"names": ["a"]}},
            "a,b,c,label",
            ("yes",),
            StorageError,
            '"features" should be a list',
        ),
        ({"features": 3}, "a,b,c,label", ("yes",), StorageError, '"features" should be a list'),
        ({"classes": ["one"]}, "a,b,c,label", ("yes",), StorageError, "has 2 outputs, and classes should"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, more, head, labels, error, said: str) -> None:
    with pytest.raises(error, match=said):
        ec.load_subject(folder(tmp_path, **more), table(tmp_path, head, labels))


def test_a_class_of_one_row_cannot_be_divided(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c,label\n" + "1,2,3,yes\n" * 8 + "1,2,3,no\n")
    with pytest.raises(DataError, match="'No' has 1 rows, too few to record some"):
        ec.load_subject(folder(tmp_path), path)


def test_a_model_of_pictures_takes_no_table(tmp_path: Path) -> None:
    options = {"image_size": [4, 4], "channels": [2], "pools": [[2, 2]], "widths": [], "classes": 2}
    config = {"architecture": "cnn", "options": options}
    place = tmp_path / "pictures"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))
    save_file({k: v for k, v in build(config).state_dict().items()}, place / "model.safetensors")
    with pytest.raises(DataError, match="this one reads pictures"):
        ec.load_subject(place, table(tmp_path))
