"""A little model as transformers saves it: whole, and in parts; and copies that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from language_helpers import byte_tokenizer, tiny


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "shards"
    tiny("llama").save_pretrained(path, max_shard_size="20KB")
    byte_tokenizer().save_pretrained(path)
    assert len(list(path.glob("*.safetensors"))) > 2
    return path


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def shards(sharded, tmp_path) -> Path:
    return Path(shutil.copytree(sharded, tmp_path / "parts"))
