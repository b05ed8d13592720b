"""Groups of layers follow their names, and a choice is a group, a kind or a sum of groups."""

import pytest

from engram_core.errors import CoverageError, UnknownNameError
from engram_core.models.groups import choose_groups, layer_groups


def stack(prefix: str, blocks: int, names: str) -> list[str]:
    return [f"{prefix}.{i}.{name}" for i in range(blocks) for name in names.split()]


LLAMA = stack(
    "model.layers", 2,
    "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj "
    "mlp.gate_proj mlp.up_proj mlp.down_proj",
)  # fmt: skip


GPT2 = stack("transformer.h", 2, "attn.c_attn attn.c_proj mlp.c_fc mlp.c_proj")


OPT = stack("model.decoder.layers", 2, "self_attn.q_proj self_attn.out_proj fc1 fc2")


@pytest.mark.parametrize(
    ("layers", "groups"),
    [
        (LLAMA, "all,attention,mlp,q,k,v,o,gate,up,down,block 0,block 1"),
        (GPT2, "all,attention,mlp,c_attn,attention c_proj,c_fc,mlp c_proj,block 0,block 1"),
        (OPT, "all,attention,mlp,q,out,fc1,fc2,block 0,block 1"),
        (["conv1", "conv2", "fc1", "fc2"], "all,conv,fc,conv1,conv2,fc1,fc2"),
        (["fc1", "fc2", "fc3"], "all,fc1,fc2,fc3"),
        (["0", "2", "4"], "all,block 0,block 2,block 4"),
        (["one"], "all"),
        (
            ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "fc"],
            "all,conv,fc,conv1,conv2,layer1.0,layer2.0",
        ),
    ],
    ids=["llama", "gpt2", "opt", "cnn", "mlp", "sequential", "one layer", "resnet"],
)
def test_groups_follow_the_names(layers: list[str], groups: str) -> None:
    found = layer_groups(layers)
    assert set(found) == set(groups.split(","))
    assert list(found["all"]) == layers and len(set(found.values())) == len(found)
    for members in found.values():
        assert list(members) == [layer for layer in layers if layer in members]


def test_parts_of_a_transformer_are_a_partition() -> None:
    for layers in (LLAMA, GPT2, OPT):
        found = layer_groups(layers)
        assert sorted(found["attention"] + found["mlp"]) == sorted(layers)
        assert sorted(found["block 0"] + found["block 1"]) == sorted(layers)
    assert layer_groups(GPT2)["mlp c_proj"] == tuple(n for n in GPT2 if n.endswith("mlp.c_proj"))


def test_choosing_groups() -> None:
    assert choose_groups(LLAMA, "v+o") == {"v+o": tuple(n for n in LLAMA if n[-6:] in ("v_proj", "o_proj"))}
    assert set(choose_groups(LLAMA, None)) == {"all", "attention", "mlp"}
    assert set(choose_groups(LLAMA, ["blocks", "q"])) == {"block 0", "block 1", "q"}
    with pytest.raises(UnknownNameError, match="Unknown group of layers 'w'"):
        choose_groups(LLAMA, ["v+w"])
    with pytest.raises(CoverageError):
        layer_groups([])
    with pytest.raises(UnknownNameError, match="kind of group"):
        layer_groups(LLAMA, kinds=["heads"])
