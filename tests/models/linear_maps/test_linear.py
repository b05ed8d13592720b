"""A Linear layer's rows times its matrix is its output, and its matrix goes there and back."""

import pytest
import torch
from helpers import only_slot, through_slot
from torch import nn
from transformers.pytorch_utils import Conv1D

from engram_core.errors import DataError
from engram_core.models.layers import find_linear_maps as find_slots


@pytest.mark.parametrize("layer", [nn.Linear(5, 3), nn.Linear(5, 3, bias=False), Conv1D(3, 5)], ids=str)
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5), (2, 1, 3, 5)])
def test_rows_times_matrix_is_the_linear_layer(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    found = through_slot(only_slot(layer), layer, x)
    torch.testing.assert_close(found.reshape(*shape[:-1], 3), layer(x))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 3),
        nn.Linear(5, 3, bias=False),
        Conv1D(3, 5),
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv2d(4, 8, (2, 3), groups=4, bias=False),
        nn.MultiheadAttention(8, 2),
        nn.MultiheadAttention(8, 2, bias=False),
        nn.MultiheadAttention(8, 2, kdim=5, vdim=6),
        nn.MultiheadAttention(8, 2, kdim=5, vdim=6, bias=False),
    ],
    ids=lambda layer: repr(layer).replace("\n", " "),
)
def test_matrix_split_merge_gives_the_parameters_back(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    for linear_map in find_slots(layer):
        merged = linear_map.replaced_parameters(layer, *linear_map.split(linear_map.matrix(layer)))
        assert set(merged) == set(linear_map.parameter_names()[: 1 + linear_map.bias])
        for name, tensor in merged.items():
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    for name, parameter in layer.named_parameters():
        assert torch.equal(parameter, before[name])


def test_rows_of_a_wrong_width_name_the_layer() -> None:
    with pytest.raises(DataError, match=r"'Linear' reads rows of 5 values; found 4"):
        only_slot(nn.Linear(5, 3)).rows(torch.zeros(2, 4))
    with pytest.raises(DataError, match=r"'Conv2d' reads images of shape \(inputs, 4"):
        only_slot(nn.Conv2d(4, 3, 3)).rows(torch.zeros(2, 3, 5, 5))
