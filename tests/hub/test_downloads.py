"""A model's folder: where it lies, in the hub's cache, or on the hub, and all that can be in the way."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from language_helpers import tiny
from model_folders import refusal

import engram_core as ec
from engram_core.errors import StorageError
from engram_core.hub.downloads import find_folder
from engram_core.language.hub import load_language_model
from engram_core.opening.load import load_model


@pytest.fixture
def cached(tmp_path, monkeypatch, sharded) -> Path:
    """A model in the hub's cache, where the hub is switched off."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    repo = tmp_path / "cache" / "models--some--model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    return Path(shutil.copytree(sharded, repo / "snapshots" / ("0" * 40)))


def test_a_whole_model_in_the_cache_is_used(cached) -> None:
    assert find_folder("some/model") == cached and load_model("some/model") is not None


@pytest.mark.parametrize("gone", ["config.json", "the second part", "all parts", "a link to nothing"])
def test_an_interrupted_download_is_said_and_not_loaded(cached, gone: str) -> None:
    lacking = [cached / "config.json"] if gone == "config.json" else sorted(cached.glob("*.safetensors"))[1:2]
    if gone == "all parts":
        lacking = sorted(cached.glob("*.safetensors"))
    for file in lacking:
        file.unlink()
        if gone == "a link to nothing":
            file.symlink_to(cached.parent.parent / "blobs" / "abc")
    said = refusal("some/model")
    assert "has only a part of 'some/model'" in said and lacking[0].name in said
    assert "its download was interrupted" in said and "switched off" in said


def test_what_the_cache_lacks_is_fetched(cached, monkeypatch) -> None:
    kept = cached / "kept.json"
    (cached / "config.json").rename(kept)

    class Info:
        siblings = ()

    def fetch(*_args, **options):
        if not options.get("local_files_only"):
            kept.rename(cached / "config.json")
        return str(cached)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_a, **_k: Info())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert find_folder("some/model") == cached and load_model(cached) is not None


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-of-that-name/x", "~" * 300])
def test_what_can_be_no_path_is_said(name: str) -> None:
    with pytest.raises(StorageError):
        find_folder(name)


@pytest.fixture
def no_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def unplugged(no_cache, monkeypatch) -> None:
    """No socket can be opened."""

    def refuse(*_args, **_kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_without_a_network_a_hub_model_is_one_line_and_quick(unplugged) -> None:
    start = time.perf_counter()
    said = refusal("somebody/some-model")
    assert time.perf_counter() - start < 10
    assert "no 'somebody/some-model'" in said and "cannot be reached" in said and "local folder" in said


def test_a_network_that_hangs_is_not_waited_for(no_cache, monkeypatch) -> None:
    from engram_core.hub.downloads import find_folder

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_a, **_k: time.sleep(30))
    start = time.perf_counter()
    with pytest.raises(StorageError, match="no answer within 0.2 s"):
        find_folder("somebody/some-model", wait=0.2)
    assert time.perf_counter() - start < 3


def test_a_hub_that_is_switched_off_says_so(no_cache, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "switched off (HF_HUB_OFFLINE)" in refusal("somebody/some-model")


@pytest.mark.parametrize("kind, told", [(GatedRepoError, "gated"), (RepositoryNotFoundError, "no model")])
def test_gated_and_missing_models_are_told_apart(no_cache, monkeypatch, kind, told: str) -> None:
    def answer(*_args, **_kwargs):
        raise kind.__new__(kind)  # what it is made of differs between versions of the library

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer)
    assert told in refusal("somebody/some-model")


def test_a_gated_model_may_be_listed_and_still_not_be_had(no_cache, monkeypatch) -> None:
    class Info:
        siblings = ()

    def download(*_args, **options):
        raise FileNotFoundError if options.get("local_files_only") else GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_a, **_k: Info())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert "is gated: accept its terms" in refusal("somebody/some-model")


def test_a_hub_model_with_pickles_only_is_refused_before_it_is_fetched(no_cache, monkeypatch) -> None:
    class File:
        rfilename = "pytorch_model.bin"

    class Info:
        siblings = [File()]

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_a, **_k: Info())
    assert "pickle only" in refusal("somebody/some-model")


def test_a_model_in_the_cache_needs_no_network(unplugged, saved, tmp_path) -> None:
    repo = tmp_path / "cache" / "models--somebody--some-model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    shutil.copytree(saved, repo / "snapshots" / ("0" * 40))
    model, _ = load_language_model("somebody/some-model")
    assert ec.model_hash(model) == ec.model_hash(tiny("llama"))


@pytest.mark.parametrize("name", ["/no/such/folder", "./here", "a/b/c", "two words/x", "~/nowhere"])
def test_what_is_neither_folder_nor_hub_name_asks_no_network(unplugged, name: str) -> None:
    assert "is no hub name" in refusal(name)
