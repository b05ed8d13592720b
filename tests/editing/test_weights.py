"""A view gets parameters of its own, may take another view's, and gives them back."""

from __future__ import annotations

import pytest
import torch
from cases import CASES, EDITS, case_of
from helpers import relative
from torch import nn

from engram_core.editing.weights import adopt_weights, restore_weights, write_matrix
from engram_core.models.layers import find_linear_maps
from engram_core.models.view import shared_copy


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_the_views_alone_and_comes_off_again(name: str) -> None:
    case = case_of(name)
    view, other = shared_copy(case.model), shared_copy(case.model)
    x = case.concepts["a"]
    with torch.no_grad():
        before = case.model(x)
        for layer in case.weights:
            write_matrix(view, case.atlas.linear_map(layer), case.edited(layer, EDITS["one"]))
        assert relative(view(x), case.answer(EDITS["one"], x)) < 1e-9
        assert torch.equal(case.model(x), before) and torch.equal(other(x), before)
        assert all(adopt_weights(other, view, case.atlas.linear_map(layer)) for layer in case.weights)
        assert torch.equal(other(x), view(x))
        for layer in case.weights:
            mine, theirs = view.get_submodule(layer), other.get_submodule(layer)
            assert mine.weight is theirs.weight and mine.bias is theirs.bias
            restore_weights(view, case.model, case.atlas.linear_map(layer))
        assert torch.equal(view(x), before) and not torch.equal(other(x), before)
    assert {p.data_ptr() for p in view.parameters()} == {p.data_ptr() for p in case.model.parameters()}


def test_from_a_view_that_holds_none_there_is_none_to_take() -> None:
    case = case_of("many rows")
    view, other = shared_copy(case.model), shared_copy(case.model)
    assert not adopt_weights(view, other, case.atlas.linear_map("0"))


def test_the_matrix_that_was_given_is_not_the_parameter() -> None:
    """Whoever goes on computing with it must not write the model."""
    layer = nn.Sequential(nn.Linear(4, 3, bias=False))
    (linear_map,), view = find_linear_maps(layer), shared_copy(layer)
    matrix = torch.ones(1, 3, 4)
    write_matrix(view, linear_map, matrix)
    matrix.fill_(7.0)
    assert (view.get_submodule("0").weight == 1.0).all()


def test_type_and_whether_gradients_are_kept_stay_those_of_the_layer() -> None:
    layer = nn.Sequential(nn.Linear(4, 3)).to(torch.bfloat16).requires_grad_(False)
    (linear_map,), view = find_linear_maps(layer), shared_copy(layer)
    write_matrix(view, linear_map, torch.full((1, 3, 5), 1 / 3))
    written = view.get_submodule("0")
    assert written.weight.dtype == written.bias.dtype == torch.bfloat16 and not written.weight.requires_grad
    assert (written.weight == torch.tensor(1 / 3, dtype=torch.bfloat16)).all()
