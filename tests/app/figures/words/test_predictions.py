"""Which prediction is right follows from the numbers, on both sides of every line that is drawn."""

from __future__ import annotations

import pandas as pd
import pytest

from app.figures.words import predictions

DIGITS = [str(digit) for digit in range(10)]


def table(**edits: dict[str, float]) -> pd.DataFrame:
    """Make a table of edits, `measure__edit` each, with underscores for spaces."""
    lines = []
    for name, found in edits.items():
        measure, edit = (part.replace("_", " ") for part in name.split("__"))
        lines += [("m", edit, measure, of, value) for of, value in found.items()]
    return pd.DataFrame(lines, columns=["model", "edit", "measure", "of", "value"])


def scores(seven: float, others: float) -> dict[str, float]:
    return {name: seven if name == "7" else others for name in DIGITS}


@pytest.mark.parametrize(("left", "right"), [(0.9, 0), (0.5, 1), (0.34, 1), (0.3, 2), (0.0, 2)])
def test_what_a_filter_leaves_is_told_by_thirds(left, right):
    assert predictions.right_engram(table(length_kept__filter_of_A={"A": 1.0, "B": left})) == right


@pytest.mark.parametrize(("factor", "right"), [(1.0, 1), (0.6, 1), (0.4, 2)])
def test_an_answer_alike_is_told_by_its_size(factor, right):
    layer = {name: float(place) - 4 for place, name in enumerate(DIGITS)}
    engram = {name: factor * value for name, value in layer.items()}
    assert predictions.right_reactivation(table(output__W_x=layer, output__E_x=engram)) == right


def test_one_large_number_is_not_the_layer_s_answer():
    layer = {name: 11.0 if name == "7" else -9.0 for name in DIGITS}
    engram = {name: 11.0 if name == "7" else 0.0 for name in DIGITS}
    assert predictions.right_reactivation(table(output__W_x=layer, output__E_x=engram)) == 0


@pytest.mark.parametrize("quiet", [0, 1, 2])
def test_the_most_silent_layer_is_found(quiet):
    layers = {f"loudness__E_in_fc{i + 1}": scores(0.9, 0.05 if i == quiet else 0.2) for i in range(3)}
    assert predictions.right_specificity(table(**layers)) == quiet


@pytest.mark.parametrize(
    ("seven", "others", "right"),
    [(0.0, 0.95, 0), (0.19, 0.93, 0), (0.0, 0.5, 1), (0.3, 0.97, 1), (0.7, 0.97, 2)],
)
def test_what_erasing_does_is_told_by_both(seven, others, right):
    found = table(score__base=scores(0.97, 0.97), score__7_erased=scores(seven, others))
    assert predictions.right_necessity(found) == right


@pytest.mark.parametrize(("seven", "others", "right"), [(0.9, 0.95, 0), (0.0, 0.3, 1), (0.0, 0.95, 2)])
def test_what_noise_does_is_told_by_how_many_it_harms(seven, others, right):
    noise = {
        f"score__random_change_of_the_size_of_7:_{name}": scores(seven, others)
        for name in ("mean", "least", "most")
    }
    found = table(score__base=scores(0.97, 0.97), score__7_erased=scores(0.0, 0.96), **noise)
    assert predictions.right_control(found) == right


@pytest.mark.parametrize(("share", "right"), [(1.0, 1), (0.6, 1), (0.2, 2)])
def test_what_a_3_is_called_by_a_network_of_the_7(share, right):
    assert predictions.right_sufficiency(table(share_called_7__7_alone=scores(1.0, share))) == right


@pytest.mark.parametrize(("quarter", "right"), [(0.95, 0), (0.8, 1), (0.5, 2)])
def test_a_quarter_of_the_strength_is_held_against_the_whole(quarter, right):
    found = {
        f"score__{x}_times_7_erased": {"7": value, "the others": 0.97}
        for x, value in (("0", 1.0), ("0.25", quarter), ("1", 0.0))
    }
    assert predictions.right_strength(table(**found)) == right


def test_the_neighbour_that_loses_most_is_found_among_the_options_or_none_of_them():
    names = ["Shirt", "Coat", "Pullover", "Dress"]
    base = dict.fromkeys(names, 0.9)
    options = ("Coat", "Pullover")
    for place, worst in enumerate([*options, "Dress"]):
        after = base | {"Shirt": 0.0, worst: 0.5}
        found = table(score__base=base, score__Shirt_erased=after)
        assert predictions.right_neighbours(found, options) == place


@pytest.mark.parametrize(("left", "right"), [(1.0, 0), (0.5, 1), (0.0, 2)])
def test_what_is_left_alone_and_what_a_reader_finds_are_told_by_thirds(left, right):
    found = table(score__base={"Ada": 1.0, "Bob": 1.0}, score__Ada_alone={"Ada": left, "Bob": 0.0})
    assert predictions.right_language(found) == right
    found = table(found_by_a_reader__7_erased={"7": left, "the others": 0.0})
    assert predictions.right_limits(found) == right
