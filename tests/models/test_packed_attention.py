"""An opened attention answers as torch's own does, and its ports hear what each of its maps reads."""

from __future__ import annotations

import pytest
import torch
from helpers import relative
from torch import nn

from engram_core.models.packed_attention import OpenAttention, open_attention


@pytest.mark.parametrize("first", [True, False], ids=["batch first", "sequence first"])
@pytest.mark.parametrize("widths", [{}, {"kdim": 5, "vdim": 3}], ids=["packed", "separate"])
@pytest.mark.parametrize("batched", [True, False])
def test_answers_and_weights_stay_and_ports_read_batch_first(
    first: bool, widths: dict, batched: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(8, 2, batch_first=first, **widths).double().eval()
    opened = nn.ModuleList([nn.MultiheadAttention(8, 2, batch_first=first, **widths).double().eval()])
    opened[0].load_state_dict(plain.state_dict())
    open_attention(opened)
    assert isinstance(opened[0], OpenAttention)
    sizes = (8, widths.get("kdim", 8), widths.get("vdim", 8))
    whole = [torch.randn(3, n, size).double() for n, size in zip((4, 6, 6), sizes, strict=True)]
    given = whole if batched else [x[0] for x in whole]
    given = [x.transpose(0, 1) for x in given] if batched and not first else given
    heard: dict[str, torch.Tensor] = {}
    for name in ("q_port", "k_port", "v_port", "out_proj"):
        opened[0].get_submodule(name).register_forward_pre_hook(
            lambda _m, args, name=name: heard.__setitem__(name, args[0])
        )
    answer, weights = opened[0](*given)
    expected, expected_weights = plain(*given)
    assert relative(answer, expected) < 1e-12 and relative(weights, expected_weights) < 1e-12
    for name, x in zip(("q_port", "k_port", "v_port"), whole if batched else given, strict=True):
        assert torch.equal(heard[name], x)
    out = heard["out_proj"] @ plain.out_proj.weight.mT + plain.out_proj.bias
    assert relative(out if first or not batched else out.transpose(0, 1), expected) < 1e-12


def test_a_subclass_with_a_forward_of_its_own_is_left_alone() -> None:
    class Own(nn.MultiheadAttention):
        pass

    holder = nn.ModuleList([Own(4, 2)])
    open_attention(holder)
    assert type(holder[0]) is Own
