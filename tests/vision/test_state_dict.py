"""A model of our own architectures from its weights and its config."""

from __future__ import annotations

import json

import pytest
from pictures import CNN

import engram_core as ec
from engram_core.errors import EngramError
from engram_core.opening.load import load_subject
from engram_core.vision.hub import load_image_model


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
