"""Two layers over one memory are tied, and neighbours in it are not."""

import pytest
import torch
from torch import nn

from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.layers import list_layers


def body() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12)).eval()


def tie_parameter(one: nn.Linear, two: nn.Linear) -> None:
    two.weight = one.weight


def tie_memory(one: nn.Linear, two: nn.Linear) -> None:
    two.weight = nn.Parameter(one.weight.data)


def tie_transposed(one: nn.Linear, two: nn.Linear) -> None:
    two.weight = nn.Parameter(one.weight.data.t())


def tie_slices(one: nn.Linear, two: nn.Linear) -> None:
    memory = torch.randn(15, 12)
    one.weight, two.weight = nn.Parameter(memory[:12]), nn.Parameter(memory[3:])


def tie_columns(one: nn.Linear, two: nn.Linear) -> None:
    memory = torch.randn(12, 20)
    one.weight, two.weight = nn.Parameter(memory[:, :12]), nn.Parameter(memory[:, 8:])


@pytest.mark.parametrize("tie", [tie_parameter, tie_memory, tie_transposed, tie_slices, tie_columns])
def test_two_modules_over_one_memory_are_tied(tie) -> None:
    model = body()
    tie(model[0], model[2])
    reasons = {i.name: i.reason for i in list_layers(model)}
    assert "tied" in reasons["0"] and "'2.weight'" in reasons["0"]
    assert "tied" in reasons["2"] and "'0.weight'" in reasons["2"]


def test_a_weight_kept_as_a_buffer_elsewhere_is_tied() -> None:
    model = body()
    model[1].register_buffer("copy", model[0].weight.data)
    assert [linear_map.name for linear_map in find_slots(model)] == ["2"]


def test_neighbours_in_one_memory_are_not_tied() -> None:
    memory = torch.randn(24, 12)
    model = body()
    model[0].weight, model[2].weight = nn.Parameter(memory[:12]), nn.Parameter(memory[12:])
    assert [linear_map.name for linear_map in find_slots(model)] == ["0", "2"]
    wide = torch.randn(12, 24)
    model[0].weight, model[2].weight = nn.Parameter(wide[:, :12]), nn.Parameter(wide[:, 12:])
    assert [linear_map.name for linear_map in find_slots(model)] == ["0", "2"]
