"""What is installed on a view is the edit, whatever was there before, and comes off without a trace."""

from __future__ import annotations

import pytest
import torch
from cases import CASES, EDITS, Edited, case_of
from helpers import relative

from engram_core.editing import placement as module
from engram_core.editing.installation import Installation
from engram_core.editing.placement import place
from engram_core.editing.stacks import Stacks
from engram_core.models.view import shared_copy


def install(installation: Installation, name: str, edit: Edited) -> None:
    case = case_of(name)
    change, stacks = case.change(edit), Stacks(case.atlas)
    placed = place(change)
    products = {}
    for source, linear_maps in placed.products.items():
        product = stacks.product(linear_maps, change)
        assert product is not None
        products[source] = (product, linear_maps)
    installation.put(change, placed, products, None)
    assert installation.form == placed.form and list(installation.products) == list(products)


@pytest.mark.parametrize("small", [True, False], ids=["weights", "products where they are smaller"])
@pytest.mark.parametrize("name", CASES)
def test_one_edit_after_another_each_is_the_dense_one_and_off_is_the_base(name, small, monkeypatch) -> None:
    if not small:
        monkeypatch.setattr(module, "_SMALL_EDIT", 0)
    case = case_of(name)
    view = shared_copy(case.model)
    installation = Installation(view)
    x = torch.cat(list(case.concepts.values()))
    with torch.no_grad():
        base = case.model(x)
        for edit in EDITS.values():
            install(installation, name, edit)
            assert relative(view(x), case.answer(edit, x)) < 1e-5
            assert torch.equal(case.model(x), base)
        installation.remove()
        assert torch.equal(view(x), base) and installation.form is None and not installation.products
    assert not any("forward" in vars(part) for part in view.modules())
    assert {p.data_ptr() for p in view.parameters()} == {p.data_ptr() for p in case.model.parameters()}
