"""Packed attention is four maps, each with the rows and the weights of its unpacked twin."""

import pytest
import torch
import torch.nn.functional as F
from helpers import coverage, relative, through_slot
from torch import Tensor, nn

from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.packed_attention import open_attention
from engram_core.models.view import shared_copy


def test_attention_is_listed_as_its_four_maps() -> None:
    attention = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
    assert list(coverage(attention)) == ["q_proj", "k_proj", "v_proj", "out_proj"]
    infos = coverage(nn.ModuleDict({"attn": attention}))
    widths = {name: info.width for name, info in infos.items()}
    assert widths == {"attn.q_proj": 9, "attn.k_proj": 6, "attn.v_proj": 7, "attn.out_proj": 9}
    assert all(info.covered and info.outputs == 8 for info in infos.values())


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"kdim": 5, "vdim": 6}, {"add_bias_kv": True}], ids=str
)
@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_maps_equal_its_unpacked_twin(options: dict, batch_first: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    query, key = torch.randn(3, 4, 8), torch.randn(3, 6, layer.kdim)
    value = torch.randn(3, 6, layer.vdim)
    view = shared_copy(layer)
    open_attention(view)
    heard: dict[str, Tensor] = {}
    for linear_map in find_slots(layer):
        port = view.get_submodule(linear_map.port)
        port.register_forward_pre_hook(lambda _m, args, name=linear_map.name: heard.update({name: args[0]}))
    turned = [x if batch_first else x.transpose(0, 1) for x in (query, key, value)]
    output, weights = view(*turned)
    expected, expected_weights = layer(*turned)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights, expected_weights)
    for name, x in zip(("q_proj", "k_proj", "v_proj"), (query, key, value), strict=True):
        torch.testing.assert_close(heard[name], x)

    # The twin: four Linear maps with what the slots say their matrices are.
    maps = {
        linear_map.name: through_slot(linear_map, layer, heard[linear_map.name])[0]
        for linear_map in find_slots(layer)
    }
    q, k, v = (maps[f"{part}_proj"].reshape(3, -1, 2, 4).transpose(1, 2) for part in "qkv")
    if layer.bias_k is not None:
        k = torch.cat([k, layer.bias_k.reshape(1, 1, 2, 4).transpose(1, 2).expand(3, -1, -1, -1)], 2)
        v = torch.cat([v, layer.bias_v.reshape(1, 1, 2, 4).transpose(1, 2).expand(3, -1, -1, -1)], 2)
    context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(3, -1, 8)
    torch.testing.assert_close(heard["out_proj"], context)
    out = maps["out_proj"].reshape(3, -1, 8)
    assert relative(out if batch_first else out.transpose(0, 1), expected) < 1e-5
