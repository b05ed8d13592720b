"""A model whose answers depend on more than its weights, with its concepts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import engram_core as ec


class Scaled(nn.Module):
    """A model whose answers depend on more than its weights."""

    def __init__(self, scale: float = 2.0, mean: float = 0.0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)
        self.scale = scale
        self.register_buffer("mean", torch.tensor(mean))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x - self.mean)) * self.scale)


class Otherwise(Scaled):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x - self.mean)) * self.scale)


Otherwise.__qualname__ = Otherwise.__name__ = "Scaled"


def inputs(seed: int, count: int = 9) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def subject(model: nn.Module | None = None, count: int = 9, **more) -> ec.Subject:
    if model is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Scaled()
    concepts = ec.ConceptSet(
        [ec.Concept(n, inputs(i, count), inputs(9 + i)) for i, n in enumerate("abc")], **more
    )
    return ec.Subject(model, concepts, ec.Classification(("a", "b", "c")))
