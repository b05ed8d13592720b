"""The samples of pictures: what ships is what was measured, and damage is told apart from use."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shipped import delete, images_of

from engram_core.concepts.sample import Sample
from engram_core.errors import StorageError
from engram_core.models.identity import model_hash
from engram_core.opening.samples import load_sample


def test_value_range_is_the_one_used(sample: Sample) -> None:
    assert sample.value_range == (0.0, 1.0)
    for part in ("record", "probe"):
        images = images_of(sample, part)
        assert (float(images.min()), float(images.max())) == sample.value_range


def test_no_held_out_image_was_recorded(sample: Sample) -> None:
    recorded = {image.numpy().tobytes() for image in images_of(sample, "record")}
    probes = [image.numpy().tobytes() for image in images_of(sample, "probe")]
    assert len(recorded) == sample.metrics["record_size"], "recorded images repeat"
    assert len(set(probes)) == len(probes), "held-out images repeat"
    assert not recorded & set(probes)


def test_accuracy_is_the_one_written_down(sample: Sample) -> None:
    held_out = sample.metrics["held_out"]
    measured = sample.task.measure(sample.model, sample.concepts).score
    sizes = {name: len(concept.probe) for name, concept in sample.concepts.items()}
    total = sum(measured[name] * sizes[name] for name in sizes) / sum(sizes.values())
    # Another processor may round a tie the other way: allow one image per class, two in all.
    assert total == pytest.approx(held_out["accuracy"], abs=2 / sum(sizes.values()) + 1e-4)
    for name, score in measured.items():
        assert score == pytest.approx(held_out["per_class"][name], abs=1 / sizes[name] + 1e-4)


def test_accuracy_is_good_and_the_held_out_part_stands_for_the_test_set(sample: Sample) -> None:
    least = {"digits-mlp": 0.96, "fashion-cnn": 0.905}[sample.name]
    test, held_out = sample.metrics["test"], sample.metrics["held_out"]
    assert test["accuracy"] >= least
    # The part is a blind draw: it may miss the whole by sampling error, here three standard errors.
    for name, score in [("accuracy", test["accuracy"]), *test["per_class"].items()]:
        size = sample.metrics["held_out_size"] / (1 if name == "accuracy" else len(test["per_class"]))
        drawn = held_out["accuracy"] if name == "accuracy" else held_out["per_class"][name]
        assert drawn == pytest.approx(score, abs=3 * (score * (1 - score) / size) ** 0.5 + 1 / size)


def test_recorded_images_carry_the_right_labels(sample: Sample) -> None:
    """On its own training images the model must do at least as well: swapped labels would show."""
    for name, concept in sample.concepts.items():
        answers = sample.task.logits(sample.model, concept.record[:200]).argmax(-1)
        share = (answers == sample.task.index(name)).double().mean()
        assert share > sample.metrics["held_out"]["per_class"][name] - 0.03


def test_model_is_ready_and_independent(sample: Sample) -> None:
    state = torch.get_rng_state()
    again = load_sample(sample.name)
    assert torch.equal(state, torch.get_rng_state()), "loading drew random numbers"
    assert not any(module.training for module in again.model.modules())
    assert all(parameter.requires_grad for parameter in again.model.parameters())
    pairs = list(zip(sample.model.state_dict().items(), again.model.state_dict().values(), strict=True))
    for (_, first), second in pairs:
        assert torch.equal(first, second)
        assert first.data_ptr() != second.data_ptr()
    assert again.metrics["parameters"] == sum(parameter.numel() for parameter in again.model.parameters())
    assert again.metrics["model_hash"] == model_hash(again.model)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [delete, cut_short, flip_one_bit, empty])
@pytest.mark.parametrize("file", ["model.safetensors", "probe-images.idx.gz", "record-labels.idx.gz"])
def test_damaged_binary_file(file: str, damage: Callable, copied: Callable[[str], Path]) -> None:
    folder = copied("fashion-cnn")
    damage(folder / file)
    with pytest.raises(StorageError, match="train.py") as caught:
        load_sample("fashion-cnn", root=folder.parent)
    assert str(folder / file) in str(caught.value)
