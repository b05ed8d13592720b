"""The files that hold a model's weights: one, or the parts that an index names; what is missing is named."""

from __future__ import annotations

import json

import pytest
import torch
from language_helpers import tiny
from model_folders import part, refusal, stray
from safetensors.torch import load_file, save_file

import engram_core as ec
from engram_core.opening.load import load_model

INDEX = "model.safetensors.index.json"


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
