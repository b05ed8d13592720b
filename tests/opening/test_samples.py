"""The sample models: what ships is what was measured, and damage is told apart from use."""

import gzip
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors import safe_open
from shipped import ROOT, VISION, delete, edit_json, images_of

from engram_core.concepts.classification import Classification
from engram_core.concepts.sample import Sample
from engram_core.errors import StorageError, UnknownNameError
from engram_core.opening import samples
from engram_core.opening.samples import describe_sample, load_sample, sample_names
from engram_core.vision.samples import read_idx, stratified_split


def training() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training", ROOT / "training.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shipped() -> list[Path]:
    hidden = {".cache", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not hidden & set(path.parts)]


# What is loaded


def test_names() -> None:
    names = sample_names()
    assert names == sorted(names)
    assert set(VISION) <= set(names)


def test_concepts(sample: Sample) -> None:
    height, width = VISION[sample.name]
    assert sample.image_shape == (height, width)
    assert isinstance(sample.task, Classification)
    assert tuple(sample.concepts) == sample.task.classes == tuple(sample.config["classes"])
    assert len(sample.concepts) == 10
    for concept in sample.concepts.values():
        for part in (concept.record, concept.probe):
            assert part.dtype == torch.float32
            assert part.shape[1:] == (1, height, width)
            assert len(part) >= 30
    assert len(images_of(sample, "record")) == sample.metrics["record_size"]
    assert len(images_of(sample, "probe")) == sample.metrics["held_out_size"]


def test_a_sample_is_described_by_its_files_alone(copied: Callable[[str], Path]) -> None:
    sample, folder = load_sample("digits-mlp"), copied("digits-mlp")
    delete(folder / "model.safetensors")
    about = describe_sample("digits-mlp", root=folder.parent)
    assert about.pop("concepts") == list(sample.concepts) and about.pop("folder") == folder
    assert about == {key: getattr(sample, key) for key in about} and "card" in about
    edit_json(folder / "config.json", lambda c: c.pop("title"))
    with pytest.raises(StorageError, match="KeyError: 'title'"):
        describe_sample("digits-mlp", root=folder.parent)
    with pytest.raises(UnknownNameError, match="Did you mean 'digits-mlp'"):
        describe_sample("digit-mlp")


def test_licence_of_the_clothes_ships_with_them() -> None:
    text = (ROOT / "fashion-cnn" / "LICENSE").read_text()
    assert "Zalando SE" in text and "Permission is hereby granted" in text


# Where it is looked for


def test_found_inside_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: Callable[[str], Path]
) -> None:
    package = tmp_path / "site" / "engram_core"
    package.mkdir(parents=True)
    monkeypatch.setattr(samples, "__file__", str(package / "opening" / "samples.py"))
    with pytest.raises(StorageError, match="sample models are missing"):
        sample_names()
    target = package / "sample_models" / "digits-mlp"
    target.parent.mkdir()
    copied("digits-mlp").rename(target)
    assert sample_names() == ["digits-mlp"]
    assert load_sample("digits-mlp").folder == target


def test_unknown_sample() -> None:
    with pytest.raises(UnknownNameError, match="Unknown sample 'digit-mlp'. Did you mean 'digits-mlp'"):
        load_sample("digit-mlp")
    with pytest.raises(UnknownNameError, match="Unknown sample"):
        load_sample("../sample_models/digits-mlp")


# Damage


# What ships


def test_size_and_kinds_of_file() -> None:
    files = shipped()
    assert sum(path.stat().st_size for path in files) < 15_000_000
    kinds = {".safetensors", ".json", ".jsonl", ".md", ".py", ".gz", ".png", ""}
    assert {path.suffix for path in files} <= kinds
    for path in files:
        start = path.read_bytes()[:2]
        # A pickle starts with its protocol; torch.save writes a zip archive of pickles.
        assert start[:1] != b"\x80" and start != b"PK", f"{path} may hold a pickle"


@pytest.mark.parametrize("name", list(VISION))
def test_weights_are_safetensors(name: str) -> None:
    with safe_open(ROOT / name / "model.safetensors", "pt") as file:
        assert "fc1.weight" in file.keys()  # noqa: SIM118 - not a mapping


# The parts


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_stratified_split(fraction: float) -> None:
    labels = np.random.RandomState(1).randint(0, 4, 200)
    first, second = stratified_split(labels, fraction=fraction, seed=0)
    assert sorted([*first, *second]) == list(range(200))
    for label in range(4):
        assert (labels[second] == label).sum() == round(fraction * (labels == label).sum())
    again, other = (stratified_split(labels, fraction=fraction, seed=seed)[1] for seed in (0, 1))
    assert np.array_equal(second, again)
    assert not np.array_equal(second, other)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 28, 28)])
def test_idx_files_come_back(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    data = training().idx_bytes(array)
    assert data == training().idx_bytes(array)
    path = tmp_path / "a.gz"
    path.write_bytes(data)
    assert np.array_equal(read_idx(path), array)
    assert read_idx(path).shape == shape


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00", b"\x00\x00\x0d\x01", b"\x00\x00\x08\x01\x00\x00\x00\x02a"]
)
def test_other_bytes_are_no_idx_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(StorageError, match="a.gz"):
        read_idx(path)


# Rebuilding


def run_train(name: str, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / name / "train.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_digits_are_rebuilt_from_nothing(tmp_path: Path) -> None:
    target = tmp_path / "digits-mlp"
    done = run_train("digits-mlp", "--out", str(target))
    assert done.returncode == 0, done.stderr
    rebuilt, original = load_sample("digits-mlp", root=tmp_path), load_sample("digits-mlp")
    assert {path.name for path in target.iterdir()} == {
        "model.safetensors",
        "config.json",
        "metrics.json",
        "card.md",
    }
    # The weights are the same to the bit only on the same processor and torch.
    assert {**rebuilt.config, "sha256": None} == {**original.config, "sha256": None}
    assert rebuilt.metrics["test"]["accuracy"] == pytest.approx(
        original.metrics["test"]["accuracy"], abs=0.015
    )


def test_fashion_says_where_the_data_is(tmp_path: Path) -> None:
    done = run_train("fashion-cnn", "--data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "train-images-idx3-ubyte.gz is missing" in done.stderr
    assert "apt-get download dataset-fashion-mnist" in done.stderr
    assert not (tmp_path / "out").exists()
