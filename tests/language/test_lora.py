"""An engram as a LoRA adapter: PEFT on the base computes what the edited view computes."""

import json

import pytest
import torch
from adapters import adapted, atlas_of, logits
from safetensors.torch import load_file

import engram_core as ec
from engram_core.errors import DataError, StorageError, UnknownNameError
from engram_core.language import save_lora
from engram_core.language.lora import lora_bytes

WITH_PEFT = ["llama", "llama with a head of its own", "gpt2", "gpt2 with a head of its own", "opt", "qwen2"]


@pytest.mark.parametrize("family", WITH_PEFT)
@pytest.mark.parametrize("strength", [1.0, -0.5])
def test_the_base_with_the_adapter_gives_the_edited_views_logits(tmp_path, family, strength):
    atlas = atlas_of(family)
    report = save_lora(atlas, "sky", tmp_path, strength=strength)
    expected = logits(atlas.apply(erase={"sky": strength}))
    assert (expected - logits(atlas.model)).abs().max() > 1e-2
    assert (logits(adapted(atlas, tmp_path)) - expected).abs().max() < 1e-4
    assert list(report["layer"]) == atlas.layers and (report["error"] == 0).all()


def test_a_sharpened_engram_is_carried_too(tmp_path):
    atlas = atlas_of("gpt2", sharpness=2.0)
    save_lora(atlas, "grass", tmp_path, strength=1.5)
    expected = logits(atlas.apply(erase={"grass": 1.5}))
    assert (logits(adapted(atlas, tmp_path)) - expected).abs().max() < 1e-4


def test_the_scaling_of_every_layer_is_minus_the_strength(tmp_path, llama):
    save_lora(llama, "sky", tmp_path, strength=1.7)
    model = adapted(llama, tmp_path)
    scalings = [m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A")]
    assert len(scalings) == len(llama.layers)
    assert scalings == pytest.approx([-1.7] * len(scalings))


def test_chosen_layers_alone_are_adapted(tmp_path, llama):
    report = save_lora(llama, "sky", tmp_path, layers=["o_proj", "down_proj"])
    assert set(report["layer"]) == {n for n in llama.layers if n.endswith(("o_proj", "down_proj"))}
    expected = logits(llama.apply(erase="sky", layers=["o_proj", "down_proj"]))
    assert (logits(adapted(llama, tmp_path)) - expected).abs().max() < 1e-4


def test_a_truncated_adapter_loads_and_keeps_its_scaling(tmp_path, llama):
    save_lora(llama, "sky", tmp_path, rank=2, strength=2.0)
    model = adapted(llama, tmp_path)
    assert {m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A")} == {-2.0}
    assert {m.r["default"] for m in model.modules() if hasattr(m, "lora_A")} == {2}


def test_a_rank_above_the_engrams_own_changes_nothing(tmp_path, llama):
    report = save_lora(llama, "sky", tmp_path, rank=10_000)
    assert (report["error"] == 0).all() and report["rank"].max() < 10_000


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_adapters_of_two_concepts_add_and_switch(tmp_path, family):
    atlas = atlas_of(family)
    strengths = {"sky": 1.0, "grass": 0.6}
    for name, strength in strengths.items():
        save_lora(atlas, name, tmp_path / name, strength=strength)
    model = adapted(atlas, tmp_path / "sky", "sky")
    model.load_adapter(str(tmp_path / "grass"), adapter_name="grass")
    for names in (["sky"], ["grass"], ["sky", "grass"]):
        model.base_model.set_adapter(names)
        expected = logits(atlas.apply(erase={n: strengths[n] for n in names}))
        assert (logits(model) - expected).abs().max() < 1e-4
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(atlas.model))


def test_the_config_names_its_base_and_files_are_replaced_whole(tmp_path, llama):
    folder = tmp_path / "new" / "folder"
    save_lora(llama, "sky", folder)
    save_lora(llama, "grass", folder, base_model="someone/model")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "someone/model"
    files = {"adapter_config.json", "adapter_model.safetensors", "engram.json"}
    assert {p.name for p in folder.iterdir()} == files
    told = json.loads((folder / "engram.json").read_text(encoding="utf-8"))
    assert told["concept"] == "grass" and told["base"] == {
        "name": "someone/model", "sha256": ec.model_hash(llama.model),
    }  # fmt: skip
    expected = logits(llama.apply(erase="grass"))
    assert (logits(adapted(llama, folder)) - expected).abs().max() < 1e-4


def test_what_is_no_adapter_is_refused_and_leaves_no_file(tmp_path, llama):
    with pytest.raises(DataError, match="capped engram"):
        save_lora(llama.sharpen(2.0, clip=True), "sky", tmp_path)
    with pytest.raises(DataError, match="at least 1; found 0"):
        save_lora(llama, "sky", tmp_path, rank=0)
    with pytest.raises(UnknownNameError, match="Unknown concept 'sku'"):
        save_lora(llama, "sku", tmp_path)
    with pytest.raises(UnknownNameError, match="Unknown layer"):
        save_lora(llama, "sky", tmp_path, layers=["nothing"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("strength", [0.0, float("nan"), float("inf")])
def test_a_strength_that_takes_nothing_or_is_no_number_is_refused(tmp_path, llama, strength):
    with pytest.raises(DataError, match="strength"):
        save_lora(llama, "sky", tmp_path, strength=strength)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, llama):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Could not write the adapter"):
        save_lora(llama, "sky", tmp_path / "file" / "below")


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"layers": ["o_proj", "down_proj"]}], ids=str)
def test_the_size_of_an_adapter_is_known_before_it_is_made(tmp_path, llama, options):
    save_lora(llama, "sky", tmp_path, **options)
    written = load_file(tmp_path / "adapter_model.safetensors").values()
    assert lora_bytes(llama, "sky", **options) == sum(tensor.nbytes for tensor in written)
