"""A model of our own architectures from its weights and its config."""

from __future__ import annotations

import json

import pytest
from pictures import CNN

import engram_core as ec
from engram_core.errors import EngramError, StorageError
from engram_core.opening.load import load_subject
from engram_core.vision import state_dict as module
from engram_core.vision.hub import load_image_model
from engram_core.vision.state_dict import form_of_config, load_state_dict


def test_a_state_dict_of_a_listed_architecture_is_a_subject(plain, root) -> None:
    subject = load_subject(plain, root)
    assert list(subject.concepts) == ["cat", "dog", "owl"] and subject.image_shape == (8, 8)
    atlas = ec.extract(subject.model, ec.record(subject.model, subject.concepts))
    assert {"conv1", "fc1", "fc2"} == set(atlas.layers)
    assert len(ec.necessity(subject, atlas, controls=0)) == 9
    alone = load_image_model(plain / "model.safetensors", architecture=CNN)
    assert ec.model_hash(alone.model) == ec.model_hash(subject.model) and alone.classes == (
        "cat",
        "dog",
        "owl",
    )


@pytest.mark.parametrize(
    "config",
    [
        CNN | {"classes": "cat"}, CNN | {"image": {"shape": 3}}, CNN | {"image": {"shape": [0, 8]}},
        CNN | {"options": []}, CNN | {"options": {}}, CNN | {"architecture": 7}, {"architecture": "mlp"},
        CNN | {"options": CNN["options"] | {"widths": [10**12]}},
        CNN | {"options": CNN["options"] | {"image_size": [10**6, 10**6]}},
    ],
    ids=lambda config: str(config)[-60:],
)  # fmt: skip
def test_a_broken_config_of_a_plain_model_is_a_sentence(plain, config: dict) -> None:
    (plain / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngramError):
        load_image_model(plain)


def test_weights_of_another_architecture_say_what_does_not_fit(plain) -> None:
    other = CNN | {"options": CNN["options"] | {"widths": [7]}}
    with pytest.raises(StorageError, match="does not fit the architecture 'cnn': size mismatch for fc1"):
        load_state_dict((plain / "model.safetensors",), other, "float32")


def test_weights_that_cannot_be_read_say_which_file(plain, monkeypatch) -> None:
    def fail(_file: object) -> None:
        raise OSError(5, "Input/output error")

    for whether, reader in ((True, "load_file"), (False, "load")):
        monkeypatch.setattr(module, "maps_weights", lambda whether=whether: whether)
        monkeypatch.setattr(module, reader, fail)
        with pytest.raises(StorageError, match=r"model\.safetensors cannot be read .*Fetch it again"):
            load_state_dict((plain / "model.safetensors",), CNN, "float32")


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"image": {"shape": [4, 6]}, "options": {"in_channels": 3}}, (4, 6, 3)),
        ({"options": {"image_size": [5, 7]}}, (5, 7, 1)),
        ({"options": {"widths": [64, 10]}}, (8, 8, 1)),
    ],
    ids=str,
)
def test_the_size_of_a_picture_is_what_the_config_says(config, size, tmp_path) -> None:
    form = form_of_config(config, tmp_path / "w.safetensors")
    assert (form.height, form.width, form.channels) == size


@pytest.mark.parametrize("shape", [[4], "4x4", [0, 4], [4, True], [4, 10**6]])
def test_a_size_that_cannot_be_names_the_config(shape, tmp_path) -> None:
    with pytest.raises(StorageError, match=r"config\.json: image\.shape should be \[height, width\]"):
        form_of_config({"image": {"shape": shape}}, tmp_path / "w.safetensors")


def test_a_row_of_values_that_is_no_square_asks_for_its_form(tmp_path) -> None:
    with pytest.raises(
        StorageError, match="reads 65 values, which is no square picture. Give form=ImageForm"
    ):
        form_of_config({"options": {"widths": [65]}}, tmp_path / "w.safetensors")
