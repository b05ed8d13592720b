"""Little models and their data, as the tests of recording take them."""

from __future__ import annotations

import torch
from helpers import homogeneous, relative, structured
from torch import Tensor, nn

from engram_core.recording.recording import Recording
from engram_core.recording.statistics import Statistics, homogeneous_moment

LINEAR = {"a": structured(1, 30, 6).float(), "b": structured(2, 50, 6).float() + 1}


def moment(recording: Recording, layer: str, concept: str, bias: bool = True) -> Tensor:
    """Return Σ_c with the bias column; zeros if the concept never reached the layer."""
    source = recording.sources[recording.source_of[layer]]
    statistics = source.statistics.get(concept) or Statistics(source.groups, source.columns)
    return homogeneous_moment(statistics, bias)


def rows_of(x: Tensor) -> Tensor:
    rows = homogeneous(x.reshape(-1, x.shape[-1]), True).double()
    return (rows.mT @ rows)[None]


class Block(nn.Module):
    """Three readers of one tensor; `between` happens to it before the last one reads."""

    def __init__(self, between: str = "") -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 3) for _ in range(3))
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        out = self.q(x) + self.k(x)
        if self.between == "in place":
            x.mul_(2.0)
        elif self.between == "in place in some batches" and x.shape[0] == 13:
            x.mul_(2.0)
        elif self.between == "a copy":
            x = x.clone()
        return out + self.v(x)


class Conditional(nn.Module):
    """Sends inputs with a positive mean through one expert, the others through another."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.low, self.high, self.never = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(x)
        high = x[:, 0] > 0
        out = torch.zeros_like(x)
        for rows, expert in ((high, self.high), (~high, self.low)):
            if rows.any():
                out[rows] = expert(x[rows])
        return out


def one_sided() -> tuple[Conditional, dict[str, Tensor]]:
    model, x = Conditional(), torch.randn(80, 6)
    with torch.no_grad():
        high = model.gate(x)[:, 0] > 0
    return model, {"high": x[high], "low": x[~high]}


def assert_same(one: Recording, two: Recording, tolerance: float = 1e-5) -> None:
    """Every layer and concept has the same statistics in both."""
    assert set(one.source_of) == set(two.source_of) and one.concepts == two.concepts
    assert one.counts == two.counts
    for layer in one.source_of:
        for concept in one.concepts:
            assert one.rows(layer, concept) == two.rows(layer, concept)
            expected = moment(two, layer, concept)
            if expected.any():
                assert relative(moment(one, layer, concept), expected) < tolerance, (layer, concept)
