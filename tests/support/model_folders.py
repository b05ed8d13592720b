"""Model folders that are damaged on purpose, and the one line that refuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from language_helpers import tiny
from safetensors.torch import save_file

from engram_core.errors import StorageError
from engram_core.language.hub import load_language_model
from engram_core.opening.load import load_model


def refusal(folder: Path | str) -> str:
    """The refusal's one line, told alike whatever is asked for."""
    said = []
    for load in (load_language_model, load_model):
        with pytest.raises(StorageError) as caught:
            load(folder)
        said.append(str(caught.value))
        assert (
            "\n" not in said[-1]
            and "ignore_mismatched" not in said[-1]
            and "/tmp/engram-model" not in said[-1]
        )
    assert said[0] == said[1]
    return said[0]


def config(folder: Path, **entries) -> None:
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | entries))


def part(folder: Path, number: int = 0) -> Path:
    return sorted(folder.glob("*.safetensors"))[number]


def stray(whole: Path) -> None:
    save_file({n: t + 1 for n, t in tiny("llama").state_dict().items() if n != "lm_head.weight"}, whole)
