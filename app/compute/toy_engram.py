"""An engram small enough to be drawn: rows of two numbers, two concepts, one layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn

import engram_core as ec

__all__ = ["ToyEngram", "toy_engram"]

_WEIGHTS = ((0.9, 0.45), (-0.35, 1.0))
_ALONG = {"A": (0.96, 0.28), "B": (0.25, 0.97)}  # the direction that a concept's rows keep to
_LENGTHS = (0.7, 1.0, 1.3, 1.6, 1.9, 2.2, 2.5)
_ASIDE = 0.12  # spread across that direction


@dataclass(frozen=True)
class ToyEngram:
    """Everything from the rows to the engram of concept A, as the core computes it.

    Attributes:
        rows: rows of each concept, (rows, 2).
        moments: second moment Σ_c of each concept, (2, 2).
        weights: W of the layer, (2, 2).
        filter: P_A = Σ_A Σ†, (2, 2).
        engram: E_A = W P_A, (2, 2).
    """

    rows: Mapping[str, np.ndarray]
    moments: Mapping[str, np.ndarray]
    weights: np.ndarray
    filter: np.ndarray
    engram: np.ndarray


def _engram(weights: np.ndarray, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
    model = nn.Sequential(OrderedDict(layer=layer)).eval()
    inputs = {name: torch.from_numpy(values).float() for name, values in rows.items()}
    atlas = ec.extract(model, ec.record(model, inputs))
    return atlas["A"].weight("layer").double().numpy()


@cache
def toy_engram() -> ToyEngram:
    """Return the worked example; always the same one."""
    noise = np.random.default_rng(0)
    rows = {
        name: np.outer(_LENGTHS, along) + noise.normal(0, _ASIDE, (len(_LENGTHS), 2))
        for name, along in _ALONG.items()
    }
    weights = np.array(_WEIGHTS)
    return ToyEngram(
        rows=rows,
        moments={name: values.T @ values for name, values in rows.items()},
        weights=weights,
        # A layer that answers every row with itself has the filter for its engram.
        filter=_engram(np.eye(2), rows),
        engram=_engram(weights, rows),
    )
