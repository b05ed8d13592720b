"""One hook on the port of every linear map: what a layer reads is heard, whatever way it is called."""

import pytest
import torch
from torch import nn

from engram_core.errors import DataError
from engram_core.models.layers import find_linear_maps
from engram_core.models.ports import hear_ports
from engram_core.models.view import shared_copy


class Oddly(nn.Module):
    """Calls one layer by position and one by name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(input=self.first(x))


def test_every_layer_is_heard_with_what_it_reads_and_the_base_keeps_no_hook() -> None:
    model, x, heard = Oddly(), torch.randn(2, 3), {}
    view = shared_copy(model)
    hear_ports(
        view, find_linear_maps(model), lambda m, value, others: heard.update({m.name: (value, others)})
    )
    view(x)
    assert torch.equal(heard["first"][0], x) and heard["first"][1] == ()
    assert torch.equal(heard["second"][0], model.first(x)) and not heard["second"][0].requires_grad
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("strict", [True, False])
def test_a_call_without_a_tensor_is_an_error_or_not_heard(strict: bool) -> None:
    model, heard = nn.Sequential(nn.Linear(3, 2)), []
    view = shared_copy(model)
    (linear_map,) = find_linear_maps(model)
    hear_ports(view, [linear_map], lambda m, value, others: heard.append(m.name), strict=strict)
    if strict:
        with pytest.raises(DataError, match="'0' was called without a tensor"):
            view("no tensor")
    else:
        with pytest.raises(TypeError):
            view("no tensor")
    assert heard == []
