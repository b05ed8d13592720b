"""The rows of a convolution are the patches that its kernel sees."""

import pytest
import torch
import torch.nn.functional as F
from helpers import only_slot, through_slot
from torch import nn

CONVOLUTIONS = [
    dict(bias=False),
    dict(),
    dict(stride=2),
    dict(stride=(2, 1), padding=(2, 0)),
    dict(padding=1),
    dict(padding="valid"),
    dict(padding="same"),
    dict(padding="same", dilation=(2, 1)),
    dict(padding="same", kernel_size=(2, 4)),
    dict(padding="same", kernel_size=(4, 2), padding_mode="circular"),
    dict(dilation=2, padding=2),
    dict(groups=2, padding=1),
    dict(groups=4, out_channels=8, padding=1, bias=False),
    dict(kernel_size=1),
    dict(padding=(1, 2), padding_mode="reflect"),
    dict(padding=(2, 1), padding_mode="replicate"),
    dict(padding=(1, 3), padding_mode="circular", stride=2, groups=2),
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
def test_rows_times_matrix_is_the_convolution(options: dict, memory: str) -> None:
    layer = nn.Conv2d(**({"in_channels": 4, "out_channels": 6, "kernel_size": 3} | options))
    x = torch.randn(2, 4, 7, 6)
    if memory == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    expected = layer(x)
    linear_map = only_slot(layer)
    found = through_slot(linear_map, layer, x)  # (groups, inputs · places, outputs / groups)
    found = found.reshape(linear_map.groups, 2, -1, linear_map.outputs // linear_map.groups).permute(
        1, 0, 3, 2
    )
    torch.testing.assert_close(found.reshape(expected.shape), expected)
    assert linear_map.positions(x) == (2, expected.shape[2] * expected.shape[3])


def test_a_convolution_reads_the_patches_of_its_unfolded_twin() -> None:
    layer = nn.Conv2d(3, 5, (3, 2), stride=2, padding=1)
    twin = nn.Linear(18, 5)
    twin.load_state_dict({"weight": layer.weight.flatten(1), "bias": layer.bias})
    x = torch.randn(4, 3, 8, 7)
    patches = F.unfold(x, (3, 2), padding=1, stride=2).mT
    linear_map = only_slot(layer)
    torch.testing.assert_close(linear_map.rows(x)[0], patches.reshape(-1, 18))
    torch.testing.assert_close(linear_map.matrix(layer), only_slot(twin).matrix(twin))


def test_a_single_unbatched_image_is_read_as_one_input() -> None:
    layer = nn.Conv2d(3, 5, 3)
    x = torch.randn(3, 6, 6)
    torch.testing.assert_close(only_slot(layer).rows(x), only_slot(layer).rows(x[None]))
