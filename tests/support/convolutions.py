"""Convolutions of every kind, and the same edits written out on a copy."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import engram_by_hand, homogeneous, relative
from torch import Tensor, nn

import engram_core as ec

BACKWARD = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


SIZES = {1: (9,), 2: (6, 5), 3: (4, 5, 4)}


def layer_of(kinds: dict[int, type[nn.Module]], axes: int, options: dict) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kinds[axes](**({"in_channels": 4, "out_channels": 6, "kernel_size": 3} | options)).eval()


def inputs_of(axes: int, count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, *SIZES[axes], generator=generator, dtype=dtype) + 0.3


def positions_by_hand(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The channels of every position, per group."""
    channels = x.movedim(1, -1).reshape(-1, x.shape[1])
    return list(channels.split(x.shape[1] // layer.groups, 1))


def edited_by_hand(layer: nn.Module, parts: dict[str, list[Tensor]], strength: float) -> nn.Module:
    """A copy whose weight lacks ``strength · W Σ_a Σ†``, group by group."""
    twin = copy.deepcopy(layer)
    transposed = layer.weight.shape[0] == layer.in_channels and type(layer) in BACKWARD.values()
    bias = layer.bias is not None and not transposed
    for group in range(layer.groups):
        rows = {name: homogeneous(part[group].double(), bias) for name, part in parts.items()}
        if transposed:
            size = layer.in_channels // layer.groups
            place = twin.weight.data[group * size : (group + 1) * size]
            matrix = place.flatten(1).mT
        else:
            size = layer.out_channels // layer.groups
            place = twin.weight.data[group * size : (group + 1) * size]
            matrix = place.flatten(1)
        if bias:
            column = twin.bias.data[group * size : (group + 1) * size]
            matrix = torch.cat([matrix, column[:, None]], 1)
        taken = strength * engram_by_hand(matrix, rows["a"], torch.cat(list(rows.values())))
        weight = taken[:, : place[0].numel() if not transposed else size].to(place.dtype)
        place -= (weight.mT if transposed else weight).reshape(place.shape)
        if bias:
            column -= taken[:, -1].to(column.dtype)
    return twin


def check(layer: nn.Module, axes: int, rows_of, *, few: bool, dtype: torch.dtype = torch.float32) -> None:
    layer = layer.to(dtype)
    counts = (1, 2) if few else (5, 6)
    data = {"a": inputs_of(axes, counts[0], 1, dtype), "b": inputs_of(axes, counts[1], 2, dtype)}
    model = nn.Sequential(layer)
    atlas = ec.extract(model, ec.record(model, data))
    twin = edited_by_hand(layer, {name: rows_of(layer, x) for name, x in data.items()}, 0.7)
    view = atlas.apply(erase={"a": 0.7})
    x = inputs_of(axes, 3, 3, dtype)
    with torch.no_grad():
        wanted, base = twin(x), layer(x)
        close = 1e-9 if dtype == torch.float64 else 1e-4
        assert relative(view(x), wanted) < close
        assert relative(view(x), base) > 1e-3
        assert relative(ec.bake(view)(x), view(x)) < 1e-6
        assert relative(view[0].weight, twin.weight) < close
        ec.live_edit(view).off()
        assert torch.equal(view(x), base)
    left, right = atlas["a"].factors("0")
    assert relative(left @ right, atlas["a"].matrix("0").squeeze(0)) < 1e-4
    assert atlas["a"].weight("0").shape == layer.weight.shape
    assert atlas["a"].norm("0") == pytest.approx(float(atlas["a"].matrix("0").norm()), rel=1e-4)
