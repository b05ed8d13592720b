"""A baked model has the edited weights of its own, and nothing of its base is written."""

from __future__ import annotations

import copy

import pytest
import torch
from cases import CASES, EDITS, Edited, case_of
from helpers import relative

from engram_core.editing.bake import baked


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", CASES)
def test_a_baked_model_answers_as_its_dense_matrices_do(name: str, edit: Edited) -> None:
    case = case_of(name)
    before = copy.deepcopy(case.model.state_dict())
    told: list[tuple[int, int, str]] = []
    model = baked(case.model, case.change(edit), progress=lambda *step: told.append(step))
    for layer, expected in case.weights.items():
        module, wanted = model.get_submodule(layer), case.edited(layer, edit)
        columns = module.weight[0].numel()
        weight = module.weight.reshape(*wanted.shape[:2], columns)
        assert relative(weight, wanted[..., :columns]) < 1e-6 and expected.shape == wanted.shape
        if module.bias is not None:
            assert relative(module.bias, wanted[..., columns:].reshape(-1)) < 1e-6
    x = torch.cat(list(case.concepts.values()))
    with torch.no_grad():
        assert relative(model(x), case.answer(edit, x)) < 1e-6
    count = len(case.weights)
    assert told == [(i, count, layer) for i, layer in enumerate(case.atlas.layers, start=1)]
    assert all(torch.equal(case.model.state_dict()[key], value) for key, value in before.items())
    shared = {p.data_ptr() for p in case.model.parameters()} & {p.data_ptr() for p in model.parameters()}
    assert not shared


def test_a_layer_that_is_not_edited_keeps_its_values() -> None:
    case = case_of("many rows")
    model = baked(case.model, case.change(EDITS["one"], layers=("2",)))
    assert torch.equal(model.get_submodule("0").weight, case.model.get_submodule("0").weight)
    assert not torch.equal(model.get_submodule("2").weight, case.model.get_submodule("2").weight)
