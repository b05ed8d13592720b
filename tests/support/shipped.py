"""The shipped samples of pictures, and copies of their folders that may be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engram_core.concepts.sample import Sample

ROOT = Path(__file__).resolve().parents[2] / "sample_models"


VISION = {"digits-mlp": (8, 8), "fashion-cnn": (28, 28)}


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def images_of(sample: Sample, part: str) -> torch.Tensor:
    return torch.cat([getattr(concept, part) for concept in sample.concepts.values()])


def delete(path: Path) -> None:
    path.unlink()
