"""Which concepts are meant: all, one, or some in the order given."""

import pytest
from cases import case_of

from engram_core.errors import DataError, UnknownNameError
from engram_core.solving.choosing import chosen_concepts

ATLAS = case_of("few rows").atlas


def test_none_is_all_a_text_is_one_and_an_order_stays() -> None:
    assert chosen_concepts(ATLAS, None) == ["a", "b", "c"]
    assert chosen_concepts(ATLAS, "b") == ["b"]
    assert chosen_concepts(ATLAS, iter(["c", "a"])) == ["c", "a"]


def test_none_at_all_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(DataError, match="names none to measure"):
        chosen_concepts(ATLAS, [])
    with pytest.raises(UnknownNameError, match="'d'"):
        chosen_concepts(ATLAS, ["a", "d"])
