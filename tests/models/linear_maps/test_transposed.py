"""Transposed convolutions: every row stamps the kernel once, and an edit is that of a copy by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from convolutions import BACKWARD, check, inputs_of, layer_of, positions_by_hand
from torch import nn

import engram_core as ec
from engram_core.models.layers import find_linear_maps as find_slots

TRANSPOSED = [
    (1, {}),
    (1, dict(bias=False, stride=3, output_padding=2)),
    (1, dict(stride=2, padding=1, dilation=2, groups=2)),
    (2, dict(stride=2, padding=1, output_padding=1)),
    (2, dict(kernel_size=(2, 3), stride=(3, 1), bias=False, groups=2)),
    (2, dict(groups=4, out_channels=8, dilation=(2, 1))),
    (3, {}),
    (3, dict(stride=(2, 1, 2), padding=(1, 0, 1), output_padding=(1, 0, 0), groups=2)),
]


@pytest.mark.parametrize(("axes", "options"), TRANSPOSED, ids=str)
def test_the_stamps_of_a_transposed_convolution_sum_to_its_output(axes: int, options: dict) -> None:
    layer = layer_of(BACKWARD, axes, options).double()
    x = inputs_of(axes, 2, 0, torch.float64)
    (linear_map,) = find_slots(layer)
    assert not linear_map.bias and linear_map.positions(x) == (2, math.prod(x.shape[2:]))
    stamps = (
        linear_map.rows(x) @ linear_map.matrix(layer).mT
    )  # (groups, inputs · positions, outputs / groups)
    stamps = stamps.reshape(layer.groups, 2, -1, linear_map.outputs // layer.groups).permute(1, 0, 3, 2)
    stamps = stamps.reshape(2, linear_map.outputs, *x.shape[2:])
    taps = math.prod(layer.kernel_size)
    one_hot = torch.eye(linear_map.outputs // layer.out_channels, dtype=torch.float64)
    kernels = one_hot.reshape(taps, 1, *layer.kernel_size).repeat(layer.out_channels, *[1] * (axes + 1))
    name = f"conv_transpose{axes}d"
    found = getattr(F, name)(
        stamps, kernels, layer.bias, layer.stride, layer.padding, layer.output_padding, layer.out_channels,
        layer.dilation,
    )  # fmt: skip
    torch.testing.assert_close(found, layer(x))
    torch.testing.assert_close(linear_map.rows(x[0]), linear_map.rows(x[:1]))


@pytest.mark.parametrize("few", [False, True], ids=["many rows", "few rows"])
@pytest.mark.parametrize(("axes", "options"), TRANSPOSED, ids=str)
def test_an_edited_transposed_convolution_is_its_copy_edited_by_hand(
    axes: int, options: dict, few: bool
) -> None:
    check(layer_of(BACKWARD, axes, options), axes, positions_by_hand, few=few)


def test_a_transposed_convolution_keeps_its_bias() -> None:
    model = nn.Sequential(nn.ConvTranspose1d(4, 3, 2))
    atlas = ec.extract(model, ec.record(model, {"a": inputs_of(1, 4, 1), "b": inputs_of(1, 4, 2)}))
    assert atlas["a"].bias("0") is None
    kept = atlas.apply(keep=["a"])
    assert torch.equal(kept[0].bias, model[0].bias)
    assert not torch.equal(kept[0].weight, model[0].weight)
