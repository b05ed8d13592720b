"""An edit is pure data: what it takes away follows from the definition, and nothing impossible is built."""

from __future__ import annotations

import pytest
from cases import CASES, EDITS, Edited, case_of

from engram_core.editing.edit import Edit
from engram_core.errors import DataError, UnknownNameError

ATLAS = case_of("few rows").atlas


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_is_taken_away_follows_from_the_definition(edit: Edited) -> None:
    made = Edit.of(ATLAS, **edit.options)
    assert made.taken(ATLAS.concepts) == edit.taken
    assert made.from_nothing == (not edit.keeps) and made.changes
    assert made.layers == tuple(ATLAS.layers)


def test_names_alone_have_strength_one_in_the_order_given() -> None:
    assert Edit.of(ATLAS, erase=["c", "a"]).erase == (("c", 1.0), ("a", 1.0))
    assert Edit.of(ATLAS, erase="b").erase == (("b", 1.0),)
    assert Edit.of(ATLAS, keep={"a": True}).keep == (("a", 1.0),)


def test_strengths_that_cancel_take_nothing() -> None:
    made = Edit.of(ATLAS, keep=["a"], null="in place", erase={"b": -1.0, "a": 0.0})
    assert made.taken(ATLAS.concepts) == {"c": 1.0}


def test_an_edit_of_strength_zero_changes_nothing_and_keeping_always_does() -> None:
    assert not Edit.of(ATLAS).changes and not Edit.of(ATLAS, erase={"a": 0.0}).changes
    assert Edit.of(ATLAS, keep=dict.fromkeys(ATLAS.concepts, 1.0), null="in place").changes


def test_layers_are_those_that_were_chosen() -> None:
    assert Edit.of(ATLAS, erase="a", layers=["2"]).layers == ("2",)
    assert Edit.of(ATLAS, erase="a", blocks=[0]).layers == ("0",)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"erase": "d"}, UnknownNameError, "'d'"),
        ({"keep": ["a", "nobody"]}, UnknownNameError, "'nobody'"),
        ({"erase": {"a": float("nan")}}, DataError, r"strength of concept 'a' must be a finite number.*nan"),
        ({"erase": {"a": float("inf")}}, DataError, "finite number"),
        ({"erase": {"a": "much"}}, DataError, "'much'"),
        ({"erase": {"a": None}}, DataError, "None"),
        ({"keep": []}, DataError, "keep names no concept"),
        ({"erase": "a", "null": "zero"}, DataError, "null must be 'nothing' or 'in place'; found 'zero'"),
        ({"erase": "a", "scaling": "wild"}, DataError, "found 'wild'"),
        ({"erase": "a", "adaptive_power": -0.1}, DataError, "0 or more; found -0.1"),
        ({"erase": "a", "adaptive_power": float("inf")}, DataError, "0 or more; found inf"),
        ({"keep": "a", "scaling": "adaptive"}, DataError, "null='in place'"),
        ({"erase": "a", "layers": ["7"]}, UnknownNameError, "'7'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(options, kind, said: str) -> None:
    with pytest.raises(kind, match=said):
        Edit.of(ATLAS, **options)


def test_adaptive_scaling_of_power_zero_is_no_error() -> None:
    assert Edit.of(ATLAS, erase="a", scaling="adaptive", adaptive_power=0).adaptive_power == 0.0


@pytest.mark.parametrize("name", CASES)
def test_an_edit_is_equal_for_every_atlas_that_has_its_names(name: str) -> None:
    """It is data: what it says of one model it says of another."""
    there = Edit.of(case_of(name).atlas, erase={"a": 0.5})
    assert (there.erase, there.keep) == (Edit.of(ATLAS, erase={"a": 0.5}).erase, None)
