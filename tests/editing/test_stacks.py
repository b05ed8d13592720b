"""Thin products of several concepts are the dense edit, and no concept's rows are stacked twice."""

from __future__ import annotations

import pytest
import torch
from cases import EDITS, Edited, case_of
from helpers import relative

from engram_core.editing.input_edit import InputEdit, OutputEdit
from engram_core.editing.stacks import Stacks

CASE = case_of("few rows")


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("layer", ["0", "2"])
@pytest.mark.parametrize("power", [1.0, 1.5])
def test_rows_through_the_stack_and_the_weights_are_rows_through_the_edited_matrix(
    layer: str, edit: Edited, power: float
) -> None:
    atlas = CASE.atlas if power == 1.0 else CASE.atlas.sharpen(power)
    change = CASE.change(edit, atlas=atlas)
    stacks = Stacks(atlas)
    rows = torch.randn(7, CASE.weights[layer].shape[-1], dtype=torch.float64)
    edited = stacks.edited(layer, rows, change, stacks.weights(layer, change))
    expected = rows @ (CASE.edited(layer, edit) if power == 1.0 else change.matrix(layer)).mT
    assert relative(edited @ CASE.weights[layer].mT, expected[0] if expected.ndim == 3 else expected) < 1e-5


def test_one_strength_is_a_number_and_several_are_a_weight_for_every_row() -> None:
    stacks = Stacks(CASE.atlas)
    assert stacks.weights("0", CASE.change(EDITS["one"])) == 1.0
    assert stacks.weights("0", CASE.change(EDITS["one"], factors={"0": 0.25, "2": 1.0})) == 0.25
    both = stacks.weights("0", CASE.change(EDITS["two strengths"]))
    assert isinstance(both, torch.Tensor) and both.tolist() == [0.5, 0.5, 2.0, 2.0]
    assert stacks.weights("0", CASE.change(EDITS["kept in place"])) == 1.0


def test_few_outputs_are_edited_at_the_output_and_shared_inputs_at_the_input() -> None:
    stacks, change = Stacks(CASE.atlas), CASE.change(EDITS["one"])
    linear_map = CASE.atlas.linear_map("0")  # 10 → 8
    assert isinstance(stacks.product([linear_map], change), OutputEdit)
    assert isinstance(stacks.product([linear_map, linear_map], change), InputEdit)


def test_concepts_that_were_seen_are_not_stacked_again() -> None:
    stacks = Stacks(CASE.atlas)
    whole = CASE.change(EDITS["two strengths"])
    stacks.product([CASE.atlas.linear_map("0")], whole)
    (held,) = stacks._stacks.values()
    stacks.product([CASE.atlas.linear_map("0")], CASE.change(EDITS["one"]))
    assert list(stacks._stacks.values())[0] is held and list(held.spans) == ["a", "c"]
    stacks.product([CASE.atlas.linear_map("0")], CASE.change(EDITS["amplified"]))
    assert list(list(stacks._stacks.values())[0].spans) == ["a", "c", "b"]
