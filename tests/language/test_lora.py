"""An engram as a LoRA adapter: PEFT on the base computes what the edited view computes."""

import copy
import json
from pathlib import Path

import pytest
import torch
from helpers import relative
from language_helpers import byte_tokenizer, little_texts, tiny
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

import engram_core as ec
from engram_core.errors import CoverageError, DataError, StorageError, UnknownNameError
from engram_core.language import LanguageConcepts, save_lora

IDS = torch.arange(40).reshape(2, 20) * 7 % 256
WITH_PEFT = ["llama", "llama with a head of its own", "gpt2", "gpt2 with a head of its own", "opt", "qwen2"]


def atlas_of(family: str, *, sharpness: float = 1.0) -> ec.Atlas:
    model = tiny(family)
    return ec.extract(
        model, ec.record(model, LanguageConcepts(byte_tokenizer(), little_texts())), sharpness=sharpness
    )


@pytest.fixture(scope="module")
def llama() -> ec.Atlas:
    return atlas_of("llama")


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def adapted(atlas: ec.Atlas, folder: Path, name: str = "default") -> PeftModel:
    return PeftModel.from_pretrained(copy.deepcopy(atlas.model), str(folder), adapter_name=name).eval()


def product(folder: Path, slot) -> torch.Tensor:
    """``B A`` of a layer from the file, with the bias column if the layer has a bias."""
    tensors = load_file(folder / "adapter_model.safetensors")
    stem = f"base_model.model.{slot.module}"
    whole = tensors[f"{stem}.lora_B.weight"].double() @ tensors[f"{stem}.lora_A.weight"].double()
    if slot.bias:
        whole = torch.cat([whole, tensors[f"{stem}.lora_B.bias"].double()[:, None]], 1)
    return whole


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


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_error_reported_for_a_rank_is_the_true_one_and_the_best_there_is(tmp_path, family):
    atlas = atlas_of(family)
    report = save_lora(atlas, "sky", tmp_path, rank=3).set_index("layer")
    for layer in atlas.layers:
        whole = atlas["sky"].matrix(layer)[0].double()
        singular = torch.linalg.svdvals(whole)
        best = float(singular[3:].norm() / singular.norm())
        assert report.loc[layer, "rank"] == 3
        assert report.loc[layer, "error"] == pytest.approx(best, abs=1e-4)
        assert relative(product(tmp_path, atlas.slot(layer)), whole) == pytest.approx(best, abs=1e-4)
    assert report["error"].max() > 0.01


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
    with pytest.raises(DataError, match="clipped engram"):
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


def test_a_model_without_layers_for_lora_says_so(tmp_path):
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Conv2d(1, 2, 2, dilation=2))
    atlas = ec.extract(model, ec.record(model, {"a": torch.rand(3, 1, 3, 3), "b": torch.rand(3, 1, 3, 3)}))
    with pytest.raises(CoverageError, match=r"cannot hold 1 of the 1 layers \(0,.*no dilation"):
        save_lora(atlas, "a", tmp_path)


def test_experts_that_an_adapter_cannot_hold_are_named_with_what_to_do_instead(tmp_path):
    atlas = atlas_of("mixtral")
    experts = [name for name in atlas.layers if "experts" in name]
    assert experts and len(experts) < len(atlas.layers)
    with pytest.raises(CoverageError) as caught:
        save_lora(atlas, "sky", tmp_path)
    said = str(caught.value)
    assert f"cannot hold {len(experts)} of the {len(atlas.layers)} layers ({experts[0]}," in said
    assert "save_edited" in said and not list(tmp_path.iterdir())
    report = save_lora(atlas, "sky", tmp_path, layers=["q_proj", "k_proj", "v_proj", "o_proj"])
    expected = logits(atlas.apply(erase="sky", layers=list(report["layer"])))
    assert (logits(adapted(atlas, tmp_path)) - expected).abs().max() < 1e-4


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, llama):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Could not write the adapter"):
        save_lora(llama, "sky", tmp_path / "file" / "below")
