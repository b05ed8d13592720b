"""A base matched with what was made of it: what was written, where else they differ, what does not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import relative
from torch import nn

from engram_core.errors import DataError, ModelMismatchError
from engram_core.models.pretrained import Pretrained


def base() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 3, bias=False))


def tuned(model: nn.Module, *paths: str) -> nn.Module:
    found = copy.deepcopy(model)
    with torch.no_grad():
        for path in paths:
            parameter = found.get_parameter(path)
            parameter += torch.ones_like(parameter)
    return found


def test_what_was_written_is_the_difference_of_the_two_matrices() -> None:
    before = base()
    after = tuned(before, "0.weight", "2.bias")
    pair = Pretrained(after, before)
    assert pair.written == ("0", "2")
    expected = torch.cat([torch.ones(8, 6), torch.zeros(8, 1)], 1)[None]
    assert relative(pair.change("0"), expected) < 1e-6
    assert relative(pair.matrix("0")[0, :, :-1], before[0].weight.detach()) == 0
    assert not pair.change("3").any()


def test_every_difference_is_listed_with_its_share_of_the_whole() -> None:
    before = base()
    after = tuned(before, "0.weight", "1.bias")
    found = Pretrained(after, before).differences()
    assert [(d.name, d.covered) for d in found] == [("0", True), ("1.bias", False)]
    assert [d.share for d in found] == pytest.approx([48 / 56, 8 / 56])
    assert found[0].change == pytest.approx(48**0.5)
    assert found[1].relative == float("inf")  # a LayerNorm's bias is zero at first


def test_names_may_stand_behind_a_prefix_as_adapters_put_it_there() -> None:
    before = base()
    wrapped = nn.ModuleDict({"base_model": tuned(before, "3.weight")})
    wrapped.forward = lambda x: wrapped["base_model"](x)
    pair = Pretrained(wrapped, before)
    assert pair.written == ("base_model.3",)
    assert relative(pair.change("base_model.3"), torch.ones(1, 3, 8)) < 1e-6
    assert [d.name for d in pair.differences()] == ["base_model.3"]


def test_a_fine_tune_that_wrote_nothing_and_a_base_that_is_the_model_are_refused() -> None:
    model = base()
    with pytest.raises(DataError, match="wrote nothing: all 3 covered layers"):
        Pretrained(copy.deepcopy(model), model)
    with pytest.raises(DataError, match="the fine-tuned model itself"):
        Pretrained(model, model)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (nn.Sequential(nn.Linear(6, 8)), "has layer '2', and the base has not"),
        (nn.Sequential(*base(), nn.Linear(3, 3)), "The base has layer '4', and the fine-tuned model has not"),
        (nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Linear(9, 8), nn.Linear(8, 3, bias=False)),
         "Layer '0' is 8 × 6 with a bias in the fine-tuned model and 9 × 6 with a bias in the base"),
    ],
)  # fmt: skip
def test_another_architecture_is_refused_by_the_layer_that_differs(other, message) -> None:
    with pytest.raises(ModelMismatchError, match=message):
        Pretrained(tuned(base(), "0.weight"), other)


def test_a_parameter_outside_the_layers_that_does_not_fit_is_named() -> None:
    before, after = base(), tuned(base(), "0.weight")
    before[1] = nn.LayerNorm(8, bias=False)
    with pytest.raises(ModelMismatchError, match="'1.bias' has shape .* and the base does not have it"):
        Pretrained(after, before).differences()
