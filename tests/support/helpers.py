"""What the engine's tests share: small trained models, and the science written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.concepts import Concept, ConceptSet
from engram_core.concepts.tasks import Subject
from engram_core.models.layers import LayerInfo, list_layers
from engram_core.models.layers import LinearMap as Slot
from engram_core.models.layers import find_linear_maps as find_slots

EPS32 = 1.1920929e-7


@dataclass(frozen=True)
class Case:
    """A trained model and its data, by concept."""

    model: nn.Module
    concepts: dict[str, Tensor]
    inputs: Tensor
    labels: Tensor


def relative(found: Tensor, expected: Tensor) -> float:
    """Return ``‖found − expected‖ / ‖expected‖``."""
    found, expected = found.detach().double(), expected.detach().double()
    scale = torch.linalg.vector_norm(expected).clamp(min=1e-30)
    return float(torch.linalg.vector_norm(found - expected) / scale)


# -- the science by hand, in float64 ----------------------------------------------------------


def homogeneous(rows: Tensor, bias: bool) -> Tensor:
    """Append a column of ones if there is a bias."""
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if bias else rows


def matrix_of(layer: nn.Module) -> Tensor:
    """Return ``[W | b]`` of a Linear layer in float64."""
    weight = layer.weight.detach().double()
    return weight if layer.bias is None else torch.cat([weight, layer.bias.detach().double()[:, None]], 1)


def pinv_under_cut(sigma: Tensor, cut: float | None = None) -> Tensor:
    """Return the pseudo-inverse that keeps eigenvalues above ``cut · λ_max``."""
    values, vectors = torch.linalg.eigh(sigma.double())
    keep = values > (len(sigma) * EPS32 if cut is None else cut) * values[-1]
    return (vectors[:, keep] / values[keep]) @ vectors[:, keep].mT


def engram_by_hand(matrix: Tensor, target: Tensor, everything: Tensor, cut: float | None = None) -> Tensor:
    """Return ``W Σ_c Σ†`` from rows (n, D)."""
    target, everything = target.double(), everything.double()
    return matrix.double() @ target.mT @ target @ pinv_under_cut(everything.mT @ everything, cut)


def orthogonal(count: int, width: int, seed: int = 0) -> Tensor:
    """Return `count` orthonormal rows of the given width, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, count, generator=generator, dtype=torch.float64))[0].mT


def structured(seed: int, count: int, width: int, rank: int | None = None, decay: float = 0.7) -> Tensor:
    """Return rows as activations are: few strong directions, many weak ones, a mean, ReLU."""
    generator = torch.Generator().manual_seed(seed)
    rank = width if rank is None else rank
    scales = decay ** torch.arange(rank, dtype=torch.float64)
    codes = torch.randn(count, rank, generator=generator, dtype=torch.float64) * scales
    mix = torch.randn(rank, width, generator=generator, dtype=torch.float64)
    return codes @ mix / rank**0.5


# -- trained models ----------------------------------------------------------------------------


def _digits() -> tuple[Tensor, Tensor]:
    bunch = load_digits()
    inputs = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    return inputs, torch.tensor(bunch.target)


def _train(build: Callable[[], nn.Module], inputs: Tensor, labels: Tensor, epochs: int) -> Case:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(epochs):
            for part in torch.randperm(len(inputs)).split(128):
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(model(inputs[part]), labels[part]).backward()
                optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    model.eval()
    return Case(model, {str(c): inputs[labels == c] for c in range(10)}, inputs, labels)


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float((model(inputs).argmax(-1) == labels).double().mean())


def train_mlp() -> Case:
    inputs, labels = _digits()

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 10)
        )  # fmt: skip

    return _train(build, inputs.flatten(1), labels, 10)


def train_cnn() -> Case:
    inputs, labels = _digits()

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4, padding_mode="reflect"), nn.ReLU(inplace=True),
            nn.Conv2d(12, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip

    return _train(build, inputs, labels, 3)


class RowReader(nn.Module):
    """Reads an 8 × 8 image as eight tokens with ``nn.TransformerEncoder``."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.place = nn.Parameter(torch.randn(8, 16) / 4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        tokens = self.embed(x.flatten(1, 2) if x.dim() == 4 else x) + self.place
        tokens = self.encoder(tokens, src_key_padding_mask=padding)
        if padding is not None:
            tokens = tokens.masked_fill(padding[..., None], 0.0)
        return self.head(tokens.mean(1))


def train_attention() -> Case:
    inputs, labels = _digits()
    return _train(RowReader, inputs, labels, 12)


def subject_of(case: Case, held_out: int = 40, *, recorded: int = 50) -> Subject:
    """Split a trained classifier's data: so many inputs of each concept to record, the next ones to probe."""
    end = recorded + held_out
    concepts = ConceptSet(Concept(n, x[:recorded], x[recorded:end]) for n, x in case.concepts.items())
    return Subject(case.model, concepts, Classification(tuple(case.concepts)))


def coverage(model: nn.Module) -> dict[str, LayerInfo]:
    return {info.name: info for info in list_layers(model)}


def only_slot(layer: nn.Module) -> Slot:
    (linear_map,) = find_slots(layer)
    return linear_map


def through_slot(linear_map: Slot, model: nn.Module, x: Tensor) -> Tensor:
    """Compute the layer as ``rows · matrixᵀ``: (groups, rows, outputs / groups)."""
    rows = linear_map.rows(x)
    if linear_map.bias:
        rows = torch.cat([rows, rows.new_ones(*rows.shape[:-1], 1)], -1)
    return rows @ linear_map.matrix(model).mT


CRITERIA = {
    "specificity": ec.specificity,
    "reactivation": ec.reactivation,
    "sufficiency": ec.sufficiency,
    "necessity": ec.necessity,
}


every_criterion = pytest.mark.parametrize("measure", CRITERIA.values(), ids=CRITERIA.keys())


def square(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one column of a table of concepts and probes as a matrix, both in the order of the probes."""
    wide = frame.pivot(index="concept", columns="probe", values=column)
    names = list(dict.fromkeys(frame["probe"]))
    return wide.loc[[n for n in names if n in wide.index], names]
