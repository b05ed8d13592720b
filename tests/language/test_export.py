"""An edited model as an ordinary folder: plain transformers gives the view's logits."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from families import build
from helpers import relative
from language_helpers import byte_tokenizer, little_texts, tiny
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import DataError, StorageError
from engram_core.language import LanguageConcepts
from engram_core.language.export import about_texts, edit_record, save_edited

FAMILIES = ["llama", "gemma2", "gpt2", "opt", "phi3", "bloom", "mixtral", "qwen3-moe", "gpt-oss"]


def concepts() -> LanguageConcepts:
    return LanguageConcepts(byte_tokenizer(), little_texts(), positions="predict")


def atlas_of(model: nn.Module) -> ec.Atlas:
    return ec.extract(model, ec.record(model, concepts()))


def logits(model: nn.Module) -> Tensor:
    ids = torch.tensor([byte_tokenizer()("The sky is blue, by day.")["input_ids"]])
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits.float()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_folder_loads_with_plain_transformers_and_answers_as_the_view(tmp_path, family: str) -> None:
    model = build(family)
    view = atlas_of(model).apply(erase={"sky": 0.8, "plain": 0.3})
    base = logits(model)
    folder = save_edited(view, tmp_path / "edited", byte_tokenizer())
    loaded = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert type(loaded) is type(model)
    assert relative(logits(loaded), logits(view)) <= 1e-5
    assert relative(logits(view), base) > 0.01
    assert torch.equal(logits(model), base)
    assert hf.AutoTokenizer.from_pretrained(folder)("sky")["input_ids"]
    assert not list(folder.glob("*.bin")) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_tied_heads_stay_tied(tmp_path, family: str) -> None:
    model = tiny(family)
    view = atlas_of(model).apply(erase=["sky"])
    loaded = hf.AutoModelForCausalLM.from_pretrained(save_edited(view, tmp_path / "m"))
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert torch.equal(loaded.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert relative(logits(loaded), logits(view)) <= 1e-5


def test_config_is_the_bases_own(tmp_path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path / "base")
    save_edited(atlas_of(model).apply(erase=["sky"]), tmp_path / "edited")
    base, edited = (json.loads((tmp_path / n / "config.json").read_text()) for n in ("base", "edited"))
    assert base == edited


def test_bfloat16_stays_bfloat16_and_is_rounded_once(tmp_path) -> None:
    model = build("llama").to(torch.bfloat16)
    view = atlas_of(model).apply(erase=["sky"])
    loaded = hf.AutoModelForCausalLM.from_pretrained(save_edited(view, tmp_path / "m"), dtype="auto")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    # The view computes in float32 at its inputs; the folder has rounded weights: eight bits of mantissa.
    assert relative(logits(loaded), logits(view)) <= 0.05


def test_engram_json_says_what_was_done_and_to_what(tmp_path) -> None:
    model = tiny("llama")
    atlas = atlas_of(model).sharpen(1.5)
    view = atlas.apply(erase={"sky": 0.8}, scaling="adaptive", layers=["v_proj", "o_proj"])
    folder = save_edited(view, tmp_path / "m", about={"texts": ["one"]})
    told = json.loads((folder / "engram.json").read_text())
    report = ec.live_edit(view).report()
    assert told["erased"] == {"sky": 0.8} and told["kept"] is None and told["on"]
    assert told["scaling"] == "adaptive" and told["sharpness"] == {"power": 1.5, "clip": False}
    assert set(told["layers"]) == set(report.layers) and len(report.layers) == 4
    assert told["layers"][report.layers[0]]["relative"] == pytest.approx(report.per_layer[report.layers[0]])
    assert told["base"]["sha256"] == ec.model_hash(model) and told["base"]["class"] == "LlamaForCausalLM"
    assert told["about"] == {"texts": ["one"]}
    ec.live_edit(view).off()
    assert edit_record(view)["erased"] == {} and not edit_record(view)["on"]


def test_a_view_that_is_off_is_saved_as_the_base(tmp_path) -> None:
    model = tiny("gpt2")
    view = atlas_of(model).apply(erase=["sky"])
    ec.live_edit(view).off()
    loaded = hf.AutoModelForCausalLM.from_pretrained(save_edited(view, tmp_path / "m"))
    assert torch.equal(logits(loaded), logits(model))


def test_what_is_in_the_way_is_left_alone_and_named(tmp_path) -> None:
    model = tiny("llama")
    view = atlas_of(model).apply(erase=["sky"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(StorageError, match="not empty"):
            save_edited(view, tmp_path / name)
    with pytest.raises(StorageError, match="Could not write"):
        save_edited(view, tmp_path / "file" / "below")
    with pytest.raises(DataError, match="JSON"):
        save_edited(view, tmp_path / "new", about={"x": object()})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "full"]
    with pytest.raises(DataError, match="not an edited view"):
        save_edited(model, tmp_path / "new")


def test_a_model_that_is_no_hugging_face_model_says_what_to_do(tmp_path) -> None:
    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    atlas = ec.extract(plain, ec.record(plain, {"a": torch.randn(9, 4), "b": torch.randn(9, 4)}))
    with pytest.raises(DataError, match="bake"):
        save_edited(atlas.apply(erase=["a"]), tmp_path / "m")


def test_the_atlas_carries_texts_settings_cut_and_hash(tmp_path) -> None:
    model = tiny("llama")
    mine = concepts()
    atlas = ec.extract(model, ec.record(model, mine), cut=1e-4)
    atlas.save(tmp_path / "a.safetensors", about=about_texts(mine))
    loaded = ec.Atlas.load(tmp_path / "a.safetensors", model)
    assert loaded.about["positions"] == "predict" and loaded.about["template"] is False
    assert loaded.about["background"] == list(little_texts().background)
    assert [r["answer"] for r in loaded.about["texts"] if r["concept"] == "grass"] == ["green", "green"]
    assert loaded.about["texts"][3]["split"] == "probe"
    assert loaded.spectrum(loaded.layers[0]).cut == 1e-4
    assert loaded.identity.digest == ec.model_hash(model)
    loaded.sharpen(2.0).save(tmp_path / "b.safetensors")
    assert ec.Atlas.load(tmp_path / "b.safetensors", model).about == loaded.about
    with pytest.raises(StorageError, match="JSON"):
        atlas.save(tmp_path / "c.safetensors", about={"x": object()})
    assert not (tmp_path / "c.safetensors").exists()
