"""Which layers hold memory, which rows each reads, and its matrix there and back."""

import pytest
from helpers import coverage
from torch import nn

from engram_core.errors import CoverageError, UnknownNameError
from engram_core.models.layers import find_linear_maps as find_slots
from engram_core.models.layers import select_layers

# -- the coverage list -----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["object", "memory"])
def test_a_head_tied_to_the_embedding_is_left_alone(share: str) -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(7, 4), "mid": nn.Linear(4, 4), "head": nn.Linear(4, 7)})
    weight = model["embed"].weight
    model["head"].weight = weight if share == "object" else nn.Parameter(weight.detach())
    infos = coverage(model)
    assert not infos["head"].covered
    assert "tied" in infos["head"].reason and "embed.weight" in infos["head"].reason
    assert infos["mid"].covered


def test_every_parameter_of_a_model_belongs_to_a_listed_layer(digits_attention) -> None:
    names = list(coverage(digits_attention.model))
    owners = {name.rpartition(".")[0] for name, _ in digits_attention.model.named_parameters()}
    for owner in owners:
        listed = any(name == owner or name.startswith(owner + ".") for name in names)
        assert listed or not owner, owner  # the root's own bare parameter goes by its class name
    assert not coverage(digits_attention.model)["RowReader"].covered


def test_a_model_without_coverable_layer_is_refused_with_what_was_found() -> None:
    with pytest.raises(CoverageError, match=r"0 \(LSTM\).*recurrent"):
        find_slots(nn.Sequential(nn.LSTM(4, 3)))
    with pytest.raises(CoverageError, match="no layer with parameters"):
        find_slots(nn.Sequential(nn.ReLU()))


# -- rows and matrices -----------------------------------------------------------------------------------


# -- selection, as PEFT does it --------------------------------------------------------------------------

NAMES = ["fc", "h.0.attn.q_proj", "h.0.mlp.fc", "h.1.attn.q_proj", "h.1.mlp.fc", "h.10.mlp.fc", "h.1.bigfc"]


def test_none_selects_all_in_order() -> None:
    assert select_layers(NAMES) == NAMES


def test_a_list_selects_by_whole_dotted_suffix() -> None:
    assert select_layers(NAMES, ["fc"]) == ["fc", "h.0.mlp.fc", "h.1.mlp.fc", "h.10.mlp.fc"]
    assert select_layers(NAMES, ["1.mlp.fc", "attn.q_proj"]) == [
        "h.0.attn.q_proj", "h.1.attn.q_proj", "h.1.mlp.fc",
    ]  # fmt: skip


def test_a_string_is_a_regular_expression_over_the_whole_name() -> None:
    assert select_layers(NAMES, "fc") == ["fc"]
    assert select_layers(NAMES, r".*\.fc") == ["h.0.mlp.fc", "h.1.mlp.fc", "h.10.mlp.fc"]


def test_blocks_select_by_the_first_number_in_the_path() -> None:
    assert select_layers(NAMES, blocks=[1]) == ["h.1.attn.q_proj", "h.1.mlp.fc", "h.1.bigfc"]
    assert select_layers(NAMES, ["fc"], blocks=[0, 10]) == ["h.0.mlp.fc", "h.10.mlp.fc"]


def test_an_unknown_suffix_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"'q_prj'.*Did you mean.*'q_proj'"):
        select_layers(NAMES, ["q_prj"])


@pytest.mark.parametrize("chosen", [{"layers": "nothing"}, {"blocks": [7]}, {"layers": "(", "blocks": None}])
def test_a_choice_that_leaves_nothing_is_refused(chosen: dict) -> None:
    with pytest.raises(CoverageError):
        select_layers(NAMES, **chosen)
