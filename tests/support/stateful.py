"""A little model that holds all sorts of things besides parameters."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import DynamicCache

import engram_core as ec

A = torch.randn(40, 12, generator=torch.Generator().manual_seed(1)) + 1


B = torch.randn(40, 12, generator=torch.Generator().manual_seed(2)) - 1


class One(nn.Module):
    """A layer and whatever a test puts beside it."""

    def __init__(self, **held: object) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.fc = nn.Linear(12, 3)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def atlas_of(model: nn.Module) -> ec.Atlas:
    return ec.extract(model, ec.record(model, {"a": A, "b": B}))


@dataclass
class Memory:
    keys: Tensor = field(default_factory=lambda: torch.zeros(4, 3))
    place: int = 0
    lock: object = field(default_factory=threading.Lock)


def plain(value: object) -> object:
    """Return what an object holds, as data that can be compared."""
    if isinstance(value, Tensor):
        return (tuple(value.shape), value.dtype, value.detach().numpy().tobytes())
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return [plain(v) for v in value]
    if isinstance(value, (Memory, DynamicCache)) or type(value).__name__ == "DynamicLayer":
        return {k: plain(v) for k, v in vars(value).items()}
    return value if isinstance(value, (bool, int, float, str, type(None))) else id(value)
