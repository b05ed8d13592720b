"""Which kinds of module are linear maps, how wide each is, and why the others are none."""

import pytest
import torch
from helpers import coverage
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers.pytorch_utils import Conv1D


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class DoubledConv1D(Conv1D):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Renamed(nn.Linear):
    """A subclass that computes what Linear computes."""


class OwnAttention(nn.MultiheadAttention):
    def forward(self, query: Tensor, *args, **kwargs):  # type: ignore[override]
        return super().forward(query * 2, *args, **kwargs)


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(3, 4))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.zeros(4, 6, 8))


@pytest.mark.parametrize(
    ("layer", "width", "outputs"),
    [
        (nn.Linear(5, 3, bias=False), 5, 3),
        (nn.Linear(5, 3), 6, 3),
        (Renamed(5, 3), 6, 3),
        (Conv1D(3, 5), 6, 3),
        (nn.Conv2d(4, 6, 3, bias=False), 36, 6),
        (nn.Conv2d(4, 6, (3, 2)), 25, 6),
        (nn.Conv2d(4, 6, 3, groups=2), 19, 6),
        (nn.Conv2d(4, 8, 3, groups=4, bias=False), 9, 8),
        (nn.Conv1d(4, 6, 3), 13, 6),
        (nn.Conv3d(4, 6, (1, 2, 3), groups=2), 13, 6),
        (nn.ConvTranspose1d(4, 6, 3), 4, 18),
        (nn.ConvTranspose2d(4, 6, (2, 3), groups=2), 2, 36),
        (nn.ConvTranspose3d(4, 6, 2, bias=False), 4, 48),
        (parametrizations.weight_norm(nn.Linear(5, 3)), 6, 3),
        (parametrizations.spectral_norm(nn.Conv2d(4, 6, 3)), 37, 6),
    ],
    ids=str,
)
def test_covered_layers_are_listed_with_their_width(layer: nn.Module, width: int, outputs: int) -> None:
    info = coverage(nn.Sequential(layer))["0"]
    assert info.covered and not info.reason
    assert (info.width, info.outputs) == (width, outputs)


def computed() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.root = nn.Parameter(layer.weight.detach())
    del layer.weight
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.root**2))
    return layer


def integer_weights() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.weight = nn.Parameter(torch.zeros(3, 4, dtype=torch.int8), requires_grad=False)
    return layer


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.Embedding(5, 4), "embedding"),
        (lambda: nn.EmbeddingBag(5, 4), "embedding"),
        (lambda: nn.LayerNorm(4), "normalisation"),
        (lambda: nn.BatchNorm2d(4), "normalisation"),
        (lambda: nn.GroupNorm(2, 4), "normalisation"),
        (lambda: nn.RMSNorm(4), "normalisation"),
        (lambda: nn.LSTM(4, 3), "recurrent"),
        (lambda: nn.GRUCell(4, 3), "recurrent"),
        (lambda: nn.LazyConv1d(4, 3), "not initialised"),
        (lambda: nn.Bilinear(4, 3, 2), "bare"),
        (lambda: Bare(), "bare"),
        (lambda: Experts(), "fused experts"),
        (lambda: nn.LazyLinear(3), "not initialised"),
        (lambda: Doubled(4, 3), "replaces the forward pass"),
        (lambda: DoubledConv1D(3, 4), "not a known linear map"),
        (lambda: OwnAttention(4, 2), "subclass of MultiheadAttention"),
        (lambda: parametrizations.weight_norm(nn.MultiheadAttention(4, 2), "in_proj_weight"), "parametrised"),
        (lambda: parametrizations.weight_norm(nn.LSTM(4, 3), "weight_ih_l0"), "parametrised"),
        (computed, "computed from other parameters"),
        (integer_weights, "quantised"),
        (lambda: nn.Linear(4, 3, device="meta"), "not loaded"),
    ],
)
def test_everything_else_is_named_with_its_reason(make, reason: str) -> None:
    infos = coverage(nn.Sequential(make(), nn.Linear(4, 2)))
    assert not infos["0"].covered
    assert reason in infos["0"].reason
    assert infos["1"].covered
