"""Whatever stands in an address, what comes out is a choice that the sample has."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.choice import DEFAULTS, MODES, NULLS, SCALINGS, STRENGTHS, Facts, clean, problems

FACTS = Facts("any", ("a", "b", "c"), {"a": 3, "b": 5, "c": 9}, ("fc1", "fc2"))
ANYTHING = st.none() | st.text() | st.integers() | st.floats() | st.booleans()


@given(st.dictionaries(st.sampled_from([*DEFAULTS, "class", "image"]), ANYTHING), st.lists(st.text()))
def test_anything_becomes_a_valid_choice(raw, names):
    raw |= {"concepts": [*names, "c", "a", "c"], "layers": names}
    choice = clean(raw, FACTS)
    assert choice.shown in FACTS.classes and 1 <= choice.image <= FACTS.held_out[choice.shown]
    assert choice.concepts == ("a", "c")
    assert choice.mode in MODES and choice.null in NULLS and choice.scaling in SCALINGS
    assert STRENGTHS[0] <= choice.strength <= STRENGTHS[1] and math.isfinite(choice.strength)
    assert choice.power in (1, 1.5, 2) and choice.layers == FACTS.layers


def test_a_good_address_raises_no_problem():
    address = {
        "model": ["any"], "class": ["b"], "image": ["5"], "mode": ["Keep only"], "concepts": ["a", "c"],
        "null": ["in place"], "strength": ["-0.5"], "scaling": ["adaptive"], "power": ["1.5"],
        "clip": ["true"], "layers": ["fc2"],
    }  # fmt: skip
    assert problems(address, FACTS) == []
    assert problems({}, FACTS) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class", "x"),
        ("image", "10"),
        ("image", "nan"),
        ("strength", "1e9"),
        ("strength", "much"),
        ("concepts", "<script>alert(1)</script>"),
        ("layers", "fc9"),
        ("mode", ""),
    ],
)
def test_each_bad_value_is_named(key, value):
    (sentence,) = problems({key: [value]}, FACTS)
    assert sentence.startswith(key) and value[:24] in sentence


def test_keeping_and_erasing_take_away_complements():
    keep = clean({"mode": "Keep only", "concepts": ["a"]}, FACTS)
    erase = clean({"concepts": ["a"]}, FACTS)
    assert keep.gone(FACTS.classes) == ("b", "c") and erase.gone(FACTS.classes) == ("a",)
    assert clean({"concepts": ["a"], "strength": 0.0}, FACTS).gone(FACTS.classes) == ()
    assert not clean({"mode": "Keep only"}, FACTS).changes
