"""Whatever stands in an address, what comes out is a choice that the sample has."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.choice.choice import ALPHA, DEFAULTS, KEEP, MODES, NULLS, SCALINGS, Facts, clean, problems
from app.choice.picture import DRAWABLE, LEVELS, clean_picture, decode, encode

FACTS = Facts("any", ("a", "b", "c"), {"a": 3, "b": 5, "c": 9}, ("fc1", "fc2"))
ANYTHING = st.none() | st.text() | st.integers() | st.floats() | st.booleans()


@given(st.dictionaries(st.sampled_from([*DEFAULTS, "class", "image"]), ANYTHING), st.lists(st.text()))
def test_anything_becomes_a_valid_choice(raw, names):
    raw |= {"concepts": [*names, "c", "a", "c"], "layers": names}
    choice, picture = clean(raw, FACTS), clean_picture(raw, FACTS, (28, 28))
    assert picture.concept in FACTS.classes and 1 <= picture.number <= FACTS.held_out[picture.concept]
    # The drawn names may be those of concepts and layers, too.
    assert choice.concepts == tuple(name for name in FACTS.classes if name in raw["concepts"])
    assert choice.mode in MODES and choice.null in NULLS and choice.scaling in SCALINGS
    low, high = FACTS.strengths
    assert all(low <= a <= high and math.isfinite(a) for a in (choice.strength, *choice.strengths.values()))
    layers = tuple(name for name in FACTS.layers if name in names) or FACTS.layers
    assert choice.power in (1, 1.5, 2, 3, 4) and choice.layers == layers


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
        ("behind", "10"),
        ("behind", "0"),
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


def test_every_chosen_concept_may_have_its_own_strength():
    raw = {"concepts": ["a", "c"], "own": True, ALPHA + "c": 0.25, ALPHA + "b": 2.0, "strength": 1.5}
    assert clean(raw, FACTS).strengths == {"a": 1.5, "c": 0.25}
    assert clean(raw | {"own": False}, FACTS).strengths == {"a": 1.5, "c": 1.5}
    # Keeping has a strength of its own, and single ones beside it.
    assert clean(raw | {"mode": KEEP}, FACTS).strengths == {"a": 1.0, "c": 0.25}
    # In place, all the others go at one strength: an own strength would mean nothing.
    assert clean(raw | {"mode": KEEP, "null": "in place"}, FACTS).single_strengths == ()
    assert clean(raw | {ALPHA + "c": 1e9}, FACTS).strengths["c"] == 1.5
    (sentence,) = problems({ALPHA + "c": ["1e9"]}, FACTS)
    assert "alpha.c" in sentence
    assert "names no concept" in problems({ALPHA + "zz": ["1"]}, FACTS)[0]
    erased = clean({"concepts": ["a", "c"], "own": True, ALPHA + "a": -0.5}, FACTS)
    assert erased.gone(FACTS.classes) == ("c",)


@given(st.lists(st.sampled_from(LEVELS), min_size=64, max_size=64))
def test_a_drawing_survives_the_address(letters):
    drawn = "".join(letters)
    assert encode(decode(drawn, DRAWABLE)) == drawn


@pytest.mark.parametrize("drawn", ["", "0" * 64, "z" * 64, "1" * 63, 7, None])
def test_what_is_no_drawing_is_none(drawn):
    assert clean_picture({"drawn": drawn}, FACTS, DRAWABLE).drawn == ""
    assert clean_picture({"drawn": "g" * 64}, FACTS, (28, 28)).drawn == ""
    assert clean_picture({"drawn": "g" * 64}, FACTS, DRAWABLE).drawn == "g" * 64


def test_a_row_s_values_are_a_text_and_come_back():
    from app.choice.picture import Picture, clean_picture, values_of, values_text

    values = (13.24, -0.000123456, 1_065_000.0)
    assert values_of(values_text(values), 3) == pytest.approx(values, rel=1e-4)
    for wrong in ("", "1,2", "1,2,x", "1,2,nan", "1,2,inf", "1,2,1e99", "1," * 2000):
        assert values_of(wrong, 3) is None
    facts = Facts("m", ("a",), {"a": 2}, ("fc",), kind="values", features=("x", "y"))
    raw = {"class": "a", "image": 2, "drawn": "1,2"}
    assert clean_picture(raw, facts, None) == Picture("a", 2, "1,2")
    assert clean_picture(raw | {"drawn": "1,2,3"}, facts, None).drawn == ""
    assert clean_picture(raw | {"drawn": 7}, facts, None).drawn == ""
