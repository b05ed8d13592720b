"""Any image classifier with a folder of pictures per class; and all that can be wrong with either."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from pictures import CNN, zipped
from transformers import ViTConfig, ViTForImageClassification

import engram_core as ec
from engram_core.errors import DataError, EngramError, StorageError
from engram_core.opening.checkup import check_up
from engram_core.opening.load import load_subject
from engram_core.vision.hub import load_image_model, load_image_subject
from engram_core.vision.image_folder import ImageForm

# -- models ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vit(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit") / "little-vit"
    labels = {0: "tabby, cat", 1: "missile", 2: "missile", 3: "owl"}
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=16,
        patch_size=8, id2label=labels, label2id={"tabby, cat": 0, "missile": 2, "owl": 3},
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "ViTImageProcessor", "do_resize": True,
                "size": {"height": 16, "width": 16},
                "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2,
            }
        )
    )  # fmt: skip
    return folder


def test_a_classifier_of_transformers_is_a_subject(vit, root, tmp_path) -> None:
    (root / "dog").rename(root / "1")  # by number; "cat" is one of two names, "OWL" in capitals
    (root / "owl").rename(root / "OWL")
    subject = load_subject(vit, zipped(root, tmp_path / "p.zip"))
    assert subject.task.classes == ("tabby, cat", "missile (1)", "missile (2)", "owl")
    assert sorted(subject.concepts) == ["missile (1)", "owl", "tabby, cat"]
    record = subject.concepts["owl"].record
    assert record.shape[1:] == (3, 16, 16) and -1 <= float(record.min()) < 0 < float(record.max()) <= 1
    atlas = ec.extract(subject.model, ec.record(subject.model, subject.concepts))
    assert len(ec.necessity(subject, atlas, controls=0)) == 9


def test_folders_that_are_no_class_are_all_named_with_the_nearest(plain, root) -> None:
    (root / "cat").rename(root / "cta")
    (root / "owl").rename(root / "zebra")
    with pytest.raises(DataError) as caught:
        load_image_subject(plain, root)
    said = str(caught.value)
    assert (
        "2 of 3 class folders" in said
        and "'cta'" in said
        and "Did you mean 'cat'" in said
        and "'zebra'" in said
    )


def test_models_that_cannot_be_used_say_why(plain, vit, root, tmp_path) -> None:
    with pytest.raises(StorageError, match="which architecture"):
        load_image_model(plain / "model.safetensors")
    other = {**CNN, "options": {**CNN["options"], "channels": [5]}}
    with pytest.raises(StorageError, match="does not fit the architecture 'cnn'"):
        load_image_model(plain / "model.safetensors", architecture=other)
    with pytest.raises(StorageError, match="3 outputs"):
        load_image_model(plain, classes=("a", "b"))
    (vit / "preprocessor_config.json").rename(tmp_path / "kept.json")
    try:
        with pytest.raises(StorageError, match=r"no preprocessor_config\.json"):
            load_image_model(vit)
        assert load_image_model(vit, form=ImageForm(16, 16, 3)).mode == "RGB"
    finally:
        (tmp_path / "kept.json").rename(vit / "preprocessor_config.json")
    config = json.loads((vit / "config.json").read_text())
    (vit / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    try:
        with pytest.raises(StorageError, match="'llama' is no image classifier"):
            load_image_model(vit)
    finally:
        (vit / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"size": {"height": 10**6, "width": 10**6}}, "size.height is 1000000; at most 8,192"),
        ({"size": {"height": "big", "width": 16}}, "preprocessor_config.json"),
        ({"size": 7.5}, "preprocessor_config.json"),
        ({"size": {"height": -3, "width": 16}}, "preprocessor_config.json"),
        ({"resample": 99}, "preprocessor_config.json"),
        ({"image_mean": [0.5]}, "preprocessor_config.json"),
        ({"image_processor_type": "os.system"}, "preprocessor_config.json"),
        ({"a": {"b": {"c": {"d": {"e": {}}}}}}, "nested deeper"),
    ],
    ids=str,
)
def test_a_broken_preprocessor_is_one_sentence(vit, root, tmp_path, entries: dict, told: str) -> None:
    for i, name in enumerate(("0", "1", "3")):
        sorted(root.iterdir())[i].rename(root / name)
    broken = tmp_path / "broken"
    shutil.copytree(vit, broken)
    file = broken / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
    with pytest.raises(EngramError) as caught:
        load_subject(broken, root)
    assert told in str(caught.value)


def test_the_check_up_of_pictures_is_what_recording_then_finds(plain, root) -> None:
    subject = load_subject(plain, root)
    found = check_up(subject.model, subject.concepts)
    recording = ec.record(subject.model, subject.concepts)
    layers = found.layers.set_index("layer")
    for layer in recording.source_of:
        assert layers.loc[layer, "rows"] == sum(recording.rows(layer, c) for c in subject.concepts)
    assert (
        found.ok
        and list(found.concepts["inputs"]) == [3, 3, 3]
        and list(found.concepts["held_out"]) == [1, 1, 1]
    )
    assert not layers.loc["bn1", "covered"] and "normalisation" in layers.loc["bn1", "reason"]
    assert recording.nbytes <= found.memory_bytes <= 20 * recording.nbytes
