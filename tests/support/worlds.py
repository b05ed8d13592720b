"""Linear layers with the rows of their concepts, of every shape, rank and type."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from helpers import (
    EPS32,
    homogeneous,
    matrix_of,
    structured,
)
from hypothesis import strategies as st
from torch import Tensor, nn

import engram_core as ec

LAYER = "Linear"


@dataclass(frozen=True)
class World:
    """One Linear layer and the rows of its concepts."""

    layer: nn.Linear
    concepts: dict[str, Tensor]

    @property
    def precise(self) -> bool:
        return self.layer.weight.dtype == torch.float64

    @property
    def matrix(self) -> Tensor:
        return matrix_of(self.layer)

    def rows(self, *names: str) -> Tensor:
        """Rows with the bias column, float64; of all concepts if none is named."""
        picked = [self.concepts[name] for name in names or self.concepts]
        return homogeneous(torch.cat(picked), self.layer.bias is not None).double()

    def atlas(self, **options) -> ec.Atlas:
        return ec.extract(self.layer, ec.record(self.layer, self.concepts), **options)


@st.composite
def worlds(draw, *, solve: str | None = None, precise: bool | None = None, full: bool = False) -> World:
    """Draw a layer and structured rows: dual (fewer rows than width) or primal, of any or of full rank."""
    width = draw(st.integers(4, 24))
    out = draw(st.integers(1, 12))
    bias = draw(st.booleans())
    dtype = torch.float64 if (draw(st.booleans()) if precise is None else precise) else torch.float32
    solve = draw(st.sampled_from(["dual", "primal"])) if solve is None else solve
    names = "abc"[: draw(st.integers(2, 3))]
    most = max(1, (width - 1) // len(names)) if solve == "dual" else 2 * width
    least = 1 if solve == "dual" else width // len(names) + 1
    counts = [draw(st.integers(least, max(least, most))) for _ in names]
    rank = width if full else draw(st.integers(1, width))
    seed = draw(st.integers(0, 10_000))
    everything = structured(seed, sum(counts), width, rank, decay=0.95 if full else 0.8) + draw(
        st.sampled_from([0.0, 0.5])
    )
    layer = nn.Linear(width, out, bias=bias, dtype=dtype)
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(structured(seed + 1 + i, out, parameter[0].numel()).reshape(parameter.shape))
    parts = everything.to(dtype).split(counts)
    return World(layer, dict(zip(names, parts, strict=True)))


def tolerance(world: World) -> float:
    # Float32 rows times float32 duals; the worst direction kept is amplified by 1/√cut at most.
    return 1e-7 if world.precise else 2e-3


def nothing_cut(world: World) -> bool:
    rows = world.rows()
    values = torch.linalg.eigvalsh(rows @ rows.mT if len(rows) < rows.shape[1] else rows.mT @ rows)
    return bool(values[0] > 100 * rows.shape[1] * EPS32 * values[-1])
