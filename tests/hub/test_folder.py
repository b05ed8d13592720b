"""The file that is checked is the file that is loaded; what a folder lacks or has too much is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from language_helpers import byte_tokenizer, little_texts, tiny
from model_folders import config, refusal, stray
from safetensors.torch import save_file
from tokenizers import AddedToken

import engram_core as ec
from engram_core.errors import DataError, EngramError, StorageError
from engram_core.hub.downloads import inspect_folder
from engram_core.language import LanguageConcepts, TextSet, generate
from engram_core.language.hub import load_language_model
from engram_core.opening.checkup import check_up
from engram_core.opening.load import load_model

# -- which files are the model -------------------------------------------------------------------------


def test_nothing_else_in_the_folder_is_opened(folder) -> None:
    """Formats that transformers would prefer or add: a distributed checkpoint, another library's file."""
    (folder / ".metadata").write_bytes(b"no pickle")
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    (folder / "model.fp16.safetensors").write_bytes(b"")
    assert ec.model_hash(load_model(folder)) == ec.model_hash(tiny("llama"))


def test_a_folder_that_changes_while_it_is_read_is_told(folder, monkeypatch) -> None:
    checked = inspect_folder(folder)
    checked.check_unchanged()
    stray(folder / "model.safetensors")
    with pytest.raises(StorageError, match="was changed while it was read"):
        checked.check_unchanged()


# -- weights that are not those of the config ----------------------------------------------------------


@pytest.mark.parametrize("key", ["transformers_weights", "fusion_config"])
def test_switches_to_other_files_and_code_are_refused(folder, key: str) -> None:
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    config(folder, **{key: "other.safetensors"})
    assert key in refusal(folder)


def test_weights_alone_say_that_the_config_is_missing(folder) -> None:
    (folder / "config.json").unlink()
    said = refusal(folder)
    assert "has weights and no config.json" in said and "Fetch config.json of the same model" in said


def test_adapters_are_told_from_models_wherever_they_lie(folder, tmp_path) -> None:
    alone = tmp_path / "adapter"
    alone.mkdir()
    (alone / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    save_file({"base_model.model.q.lora_A.weight": torch.ones(2, 2)}, alone / "adapter_model.safetensors")
    assert "holds an adapter, not a model (its base: 'some/base')" in refusal(alone)
    (folder / "adapter_config.json").write_text("{}")
    assert "holds a model and an adapter" in refusal(folder)
    (folder / "adapter_config.json").unlink()
    shutil.copy(alone / "adapter_model.safetensors", folder / "model.safetensors")
    assert "holds the weights of an adapter (base_model.model.q.lora_A.weight)" in refusal(folder)
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    assert "holds an adapter (adapter_model.safetensors) and no model" in refusal(folder)


# -- tokenizers ----------------------------------------------------------------------------------------


@pytest.fixture
def beyond(tmp_path) -> Path:
    """A tokenizer with one special token past the last embedding row."""
    path = tmp_path / "beyond"
    model, tokenizer = tiny("llama"), byte_tokenizer(chat=True)
    model.resize_token_embeddings(256)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<image>", special=True)]})
    assert tokenizer.convert_tokens_to_ids("<image>") == 256
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_a_special_token_past_the_last_row_is_refused_only_where_it_is_used(beyond) -> None:
    model, tokenizer = load_language_model(beyond)
    assert len(list(generate(model, tokenizer, "The sky", max_new_tokens=2))) == 2
    texts = little_texts()
    ec.record(model, LanguageConcepts(tokenizer, texts))
    told = r"holds the token '<image>' \(number 256\), and this model has rows for 256 tokens only"
    with pytest.raises(DataError, match=told):
        generate(model, tokenizer, "The <image> sky", chat=True)
    rows = [{"concept": "sky", "text": "ok"}, {"concept": "pic", "prompt": "See <image>", "answer": "it"}]
    wrong = LanguageConcepts(tokenizer, TextSet.of(rows))
    with pytest.raises(DataError, match=f"Concept 'pic': the text {told}"):
        ec.record(model, wrong)
    assert any("<image>" in problem for problem in check_up(model, wrong).problems)
    for ask in (ec.language.next_tokens, ec.language.token_changes):
        with pytest.raises(EngramError, match="<image>"):
            ask(model, model, tokenizer, "The <image>")


def test_ordinary_tokens_past_the_last_row_are_another_models(beyond) -> None:
    model = tiny("llama")
    model.resize_token_embeddings(255)
    model.save_pretrained(beyond)
    with pytest.raises(StorageError, match="do not belong together"):
        load_language_model(beyond)
