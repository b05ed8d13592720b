"""A model computes here what it computes in transformers: base, view, bake, exported folder and adapter."""

from __future__ import annotations

import pytest

from docs.same_as_hf import ROWS, rows


@pytest.fixture(scope="module")
def compared() -> dict[str, dict]:
    return {one["row"]: one for one in rows("authors-lm")}


@pytest.mark.parametrize("row", ["base", "view, off"])
def test_the_base_and_a_view_that_is_off_are_transformers_to_the_bit(compared, row: str) -> None:
    assert compared[row]["difference"] == 0.0 and compared[row]["agree"] == 1.0


@pytest.mark.parametrize("row", ROWS[2:])
def test_every_form_of_the_edited_model_differs_by_rounding_alone(compared, row: str) -> None:
    assert 0.0 <= compared[row]["difference"] < 1e-3 * compared[row]["largest"]
    assert compared[row]["agree"] > 0.99 and compared[row]["positions"] > 50


def test_the_edit_itself_is_far_more_than_rounding(compared) -> None:
    """Or the rows above would compare the base with itself."""
    from docs import same_as_hf

    assert compared["view, on"]["largest"] != compared["base"]["largest"]
    assert same_as_hf.STRENGTH > 0
