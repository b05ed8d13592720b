"""The files of a sample: what is missing, damaged or wrong is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from shipped import delete, edit_json

from engram_core.concepts.sample import Sample
from engram_core.errors import StorageError
from engram_core.opening.samples import load_sample, sample_names


def test_metrics_and_card(sample: Sample) -> None:
    for key in ("seed", "torch", "parameters", "train_size", "test_size", "epochs", "seconds"):
        assert key in sample.metrics
    for part in ("test", "held_out"):
        assert list(sample.metrics[part]["per_class"]) == list(sample.concepts)
    assert sample.name in sample.card.splitlines()[0]
    for fact in (
        f"{sample.metrics['test']['accuracy']:.2%}",
        f"{sample.metrics['parameters']:,}",
        f"{sample.metrics['train_size']:,}",
        f"torch {sample.metrics['torch']}",
    ):
        assert fact in " ".join(sample.card.split())
    assert sample.title and sample.summary.endswith(".")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [delete, cut_short, empty])
@pytest.mark.parametrize("file", ["config.json", "metrics.json"])
def test_damaged_text_file(file: str, damage: Callable, copied: Callable[[str], Path]) -> None:
    folder = copied("digits-mlp")
    damage(folder / file)
    with pytest.raises(StorageError, match="train.py") as caught:
        load_sample("digits-mlp", root=folder.parent)
    assert str(folder / file) in str(caught.value)


def test_missing_card(copied: Callable[[str], Path]) -> None:
    folder = copied("digits-mlp")
    delete(folder / "card.md")
    with pytest.raises(StorageError, match="card.md"):
        load_sample("digits-mlp", root=folder.parent)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(kind="song"), "kind = 'song'"),
        (lambda c: c.update(architecture="mlpp"), "Unknown architecture 'mlpp'"),
        (lambda c: c["options"].update(widths=[64, 10]), "does not fit the architecture"),
        (lambda c: c["options"].update(widths="64"), "Option 'widths'"),
        (lambda c: c["data"].update(kind="cloud"), "kind = 'cloud'"),
        (lambda c: c["data"].update(split_seed=1), "scikit-learn's digits are not those"),
        (lambda c: c["image"].update(shape=[9, 8]), "8, 8"),
        (lambda c: c["classes"].append("10"), "no images of class '10'"),
        (lambda c: c["classes"].__setitem__(1, "0"), "Two concepts are called '0'"),
        (lambda c: c.pop("image"), "KeyError: 'image'"),
        (lambda c: c.update(image=3), "TypeError"),
        (lambda c: c.update(sha256=[]), "AttributeError"),
    ],
)
def test_wrong_config(change: Callable, told: str, copied: Callable[[str], Path]) -> None:
    folder = copied("digits-mlp")
    edit_json(folder / "config.json", change)
    with pytest.raises(StorageError) as caught:
        load_sample("digits-mlp", root=folder.parent)
    assert told in str(caught.value)
    assert str(folder) in str(caught.value)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        sample_names(tmp_path / "nowhere")
