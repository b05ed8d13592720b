"""The file that is checked is the file that is loaded; what a folder lacks or has too much is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from language_helpers import byte_tokenizer, little_texts, tiny
from model_folders import config, part, refusal
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken

import engram_core as ec
from engram_core.errors import DataError, EngramError, StorageError
from engram_core.hub.downloads import inspect_folder
from engram_core.language import LanguageConcepts, TextSet, generate
from engram_core.language.hub import load_language_model
from engram_core.opening.checkup import check_up
from engram_core.opening.load import load_model

INDEX = "model.safetensors.index.json"


# -- which files are the model -------------------------------------------------------------------------


def stray(whole: Path) -> None:
    save_file({n: t + 1 for n, t in tiny("llama").state_dict().items() if n != "lm_head.weight"}, whole)


@pytest.mark.parametrize("make", [stray, lambda whole: whole.write_bytes(b"")], ids=["another", "empty"])
def test_shards_beside_a_whole_file_are_told_apart_from_a_model(shards, make) -> None:
    make(shards / "model.safetensors")
    said = refusal(shards)
    assert "holds its weights twice: model.safetensors, and" in said and "take the other out" in said


def test_a_shard_that_is_called_as_the_whole_is_one_of_the_shards(shards) -> None:
    first = part(shards)
    index = json.loads((shards / INDEX).read_text())
    index["weight_map"] = {
        name: "model.safetensors" if file == first.name else file
        for name, file in index["weight_map"].items()
    }
    (shards / INDEX).write_text(json.dumps(index))
    first.rename(shards / "model.safetensors")
    assert ec.model_hash(load_model(shards)) == ec.model_hash(tiny("llama"))


def test_nothing_else_in_the_folder_is_opened(folder) -> None:
    """Formats that transformers would prefer or add: a distributed checkpoint, another library's file."""
    (folder / ".metadata").write_bytes(b"no pickle")
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    (folder / "model.fp16.safetensors").write_bytes(b"")
    assert ec.model_hash(load_model(folder)) == ec.model_hash(tiny("llama"))


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("ending", ["empty", "cut", "text"])
def test_every_file_is_checked_alone_and_in_company(folder, shards, number: int, ending: str) -> None:
    for path in (part(folder), part(shards, number)):
        data = path.read_bytes()
        path.write_bytes({"empty": b"", "cut": data[:-9], "text": b"<!DOCTYPE html><html>"}[ending])
        said = refusal(path.parent)
        assert (
            str(path) in said
            and ("is empty (0 bytes)" if ending == "empty" else "cut short, damaged") in said
        )


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.float8_e4m3fn])
def test_types_are_checked_alone_and_in_company(folder, shards, kind) -> None:
    for path in (part(folder), part(shards, 1)):
        state = load_file(path)
        name = next(n for n in state if n.endswith("weight"))
        save_file(state | {name: state[name].to(kind)}, path, metadata={"format": "pt"})
        said = refusal(path.parent)
        assert "is quantised: it holds values of type" in said and name in said and path.name in said


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


# -- parts of a model ----------------------------------------------------------------------------------


def test_shards_without_an_index_ask_for_it(shards) -> None:
    (shards / INDEX).unlink()
    said = refusal(shards)
    assert "has parts of its weights" in said and INDEX in said


def test_a_shard_too_few_is_named_with_what_a_download_left(shards) -> None:
    gone = part(shards, 1)
    gone.unlink()
    left = shards / ".cache" / "huggingface" / "download"
    left.mkdir(parents=True)
    (left / "abc.incomplete").write_bytes(b"x")
    said = refusal(shards)
    assert gone.name in said and "lacks 1 of" in said and "abc.incomplete was left by a download" in said


def test_an_index_of_another_model_is_found(shards) -> None:
    index = json.loads((shards / INDEX).read_text())
    names = list(index["weight_map"])
    whole = dict(index["weight_map"])
    for change, told in (
        ({names[0]: part(shards, -1).name}, "says that"),
        ({"model.layers.7.weight": part(shards).name}, "model.layers.7.weight"),
        ({names[0]: None}, "names no weight files"),
        ({names[0]: ["a"]}, "names no weight files"),
        ({names[0]: "../other.safetensors"}, "names no weight files"),
        ({names[0]: "..\\other.safetensors"}, "names no weight files"),
        ({names[0]: "config.json"}, "names no weight files"),
    ):
        (shards / INDEX).write_text(json.dumps({"weight_map": whole | change}))
        assert told in refusal(shards)
    files = list(whole.values())
    gone = next(name for name, file in whole.items() if files.count(file) > 1)
    (shards / INDEX).write_text(json.dumps({"weight_map": {n: f for n, f in whole.items() if n != gone}}))
    assert "does not know" in refusal(shards)


def test_one_tensor_in_two_files_is_refused(shards) -> None:
    first, second = load_file(part(shards)), load_file(part(shards, 1))
    name = next(iter(first))
    save_file(second | {name: first[name]}, part(shards, 1), metadata={"format": "pt"})
    assert f"{name} lies in" in refusal(shards)


def test_weights_of_another_name_say_which_is_read(folder) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    assert "has weights named consolidated.safetensors" in refusal(folder)


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


# -- the hub's cache -----------------------------------------------------------------------------------


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
