"""What is loaded is what was checked: no weight is made up, left out or of another shape."""

from __future__ import annotations

import torch
from language_helpers import tiny
from model_folders import config, refusal
from safetensors.torch import load_file, save_file

import engram_core as ec
from engram_core.hub.downloads import inspect_folder
from engram_core.language.hub import load_language_model
from engram_core.opening.load import load_model


def test_what_is_loaded_is_what_was_checked(saved, sharded) -> None:
    for path in (saved, sharded):
        checked = inspect_folder(path)
        model, _ = load_language_model(path)
        stored = {name: tensor for file in checked.weights for name, tensor in load_file(file).items()}
        state = model.state_dict()
        assert set(checked.tensors) == set(stored)
        assert all(torch.equal(state[name], tensor) for name, tensor in stored.items())
        assert all(checked.tensors[name].shape == tuple(tensor.shape) for name, tensor in stored.items())
        assert model.config._name_or_path == model.name_or_path == str(path)


def test_a_wrong_hidden_size_is_said_with_both_shapes(folder) -> None:
    config(folder, hidden_size=32)
    said = refusal(folder)
    assert "24" in said and "32" in said and "config.json" in said


def test_layers_left_over_are_no_smaller_model(folder) -> None:
    config(folder, num_hidden_layers=1)
    said = refusal(folder)
    assert "9 weights that a LlamaForCausalLM of this config has no place for" in said
    assert "model.layers.1." in said and "of a smaller or of another model" in said


def test_layers_that_are_not_there_are_not_made_up(folder) -> None:
    config(folder, num_hidden_layers=3)
    assert "lacks 9 weights of a LlamaForCausalLM (model.layers.2." in refusal(folder)


def test_a_weight_too_many_is_said(folder) -> None:
    state = load_file(folder / "model.safetensors")
    save_file(
        state | {"model.layers.0.extra.weight": torch.ones(2, 2)},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    assert "1 weights that" in refusal(folder) and "model.layers.0.extra.weight" in refusal(folder)


def test_constants_that_older_versions_stored_are_no_weights(folder) -> None:
    state = load_file(folder / "model.safetensors")
    old = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(6),
        "model.position_ids": torch.arange(4),
    }
    save_file(state | old, folder / "model.safetensors", metadata={"format": "pt"})
    assert ec.model_hash(load_model(folder)) == ec.model_hash(tiny("llama"))


def test_a_config_of_another_class_is_refused_by_its_name(folder) -> None:
    config(folder, architectures=["LlamaForSequenceClassification"])
    assert "says that the weights are of a LlamaForSequenceClassification" in refusal(folder)
    for harmless in (["LLaMAForCausalLM"], ["LlamaModel"], [], None, ["NobodyKnows"]):
        config(folder, architectures=harmless)
        assert load_model(folder) is not None
    config(folder, architectures="LlamaForCausalLM")
    assert "should be a list of class names" in refusal(folder)
