"""A folder of pictures, one folder in it for each of three classes, and a model of these."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pictures import CNN, png
from safetensors.torch import save_file

from engram_core.vision.architectures import build


@pytest.fixture
def root(tmp_path) -> Path:
    for number, label in enumerate(("cat", "dog", "owl")):
        (tmp_path / "p" / label).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "p" / label / f"{i}.png").write_bytes(png(10 * number + i))
    return tmp_path / "p"


@pytest.fixture
def plain(tmp_path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "plain"
    folder.mkdir()
    save_file(build(CNN).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CNN))
    return folder
