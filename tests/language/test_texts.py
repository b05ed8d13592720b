"""A set of texts: concepts of different names, and a part of them."""

import pytest

from engram_core.errors import DataError, UnknownNameError
from engram_core.language import TextConcept, TextItem, TextSet


def test_a_set_needs_concepts_of_different_names_with_something_to_record():
    item = (TextItem("", "t"),)
    with pytest.raises(DataError, match="at least one concept"):
        TextSet(())
    with pytest.raises(DataError, match="one name"):
        TextSet((TextConcept("c", item), TextConcept("c", item)))
    with pytest.raises(DataError, match="Nothing is to be recorded for 'd'"):
        TextSet((TextConcept("c", item), TextConcept("d", (), item)))


def test_a_subset_keeps_the_order_asked_for_and_the_background():
    texts = TextSet.of([{"concept": n, "text": n} for n in "abc"], background=["x"])
    part = texts.subset(["c", "a"])
    assert list(part) == ["c", "a"] and part.background == ("x",)
    with pytest.raises(UnknownNameError, match="Unknown concept"):
        texts.subset(["nobody"])
