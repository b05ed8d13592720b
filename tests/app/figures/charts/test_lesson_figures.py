"""Figures of the tour: veiled they hold nothing of the answer, opened they hold all of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from app.compute.toy_engram import toy_engram
from app.figures.charts.lesson_figures import LESSON_FIGURES
from app.figures.charts.toy import toy_figure
from app.figures.words.toy import STAGES

DIGITS = [str(digit) for digit in range(10)]
AUTHORS = ["Ada", "Bob", "Cy"]
# Of every experiment the rows of its table: (edit, measure), and what they are of; given first.
FORMS: dict[str, tuple[list[tuple[str, str, list[str]]], list[tuple[str, str, list[str]]]]] = {
    "reactivation": ([("W x", "output", DIGITS)], [("E x", "output", DIGITS)]),
    "specificity": ([], [(f"E in {layer}", "loudness", DIGITS) for layer in ("a", "b", "c")]),
    "necessity": ([("base", "score", DIGITS)], [("7 erased", "score", DIGITS)]),
    "neighbours": ([("base", "score", AUTHORS)], [("Ada erased", "score", AUTHORS)]),
    "control": (
        [("base", "score", DIGITS), ("7 erased", "score", DIGITS)],
        [(f"random change of the size of 7: {name}", "score", DIGITS) for name in ("mean", "least", "most")],
    ),
    "sufficiency": ([("base", "share called 7", DIGITS)], [("7 alone", "share called 7", DIGITS)]),
    "strength": (
        [(f"{x} times 7 erased", "score", ["7", "the others"]) for x in (0, 1)],
        [(f"{x} times 7 erased", "score", ["7", "the others"]) for x in (0.25, 0.5, 2)],
    ),
    "language": (
        [("base", "score", AUTHORS)],
        [("Ada erased", "score", AUTHORS), ("Ada alone", "score", AUTHORS)],
    ),
    "limits": (
        [("base", "found by a reader", ["7", "the others"])],
        [("7 erased", "found by a reader", ["7", "the others"])],
    ),
}


def drawn(name: str, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the tables of an experiment at random."""
    noise = np.random.default_rng(seed)
    found = []
    for part in FORMS[name]:
        lines = [
            ("m", edit, measure, of, float(noise.uniform(0.1, 0.9)))
            for edit, measure, names in part
            for of in names
        ]
        found.append(pd.DataFrame(lines, columns=["model", "edit", "measure", "of", "value"]))
    return found[0], found[1]


def numbers(figure) -> list[float]:  # noqa: ANN001
    """Return every number that a figure plots."""
    found: list[float] = []
    for trace in json.loads(figure.to_json())["data"]:
        for axis in ("x", "y"):
            read = trace.get(axis, [])
            if isinstance(read, dict):
                read = np.frombuffer(__import__("base64").b64decode(read["bdata"]), read["dtype"]).tolist()
            found += [value for value in read if isinstance(value, float)]
    return found


def plots(figure, value: float) -> bool:  # noqa: ANN001
    return any(abs(found - wanted) < 1e-9 for found in numbers(figure) for wanted in (value, 100 * value))


@pytest.mark.parametrize("name", FORMS)
def test_a_veiled_figure_shows_what_is_given_and_nothing_else(name):
    given, asked = drawn(name)
    veiled, opened = LESSON_FIGURES[name](given, None), LESSON_FIGURES[name](given, asked)
    assert "Predict first" in veiled.layout.annotations[0].text and not opened.layout.annotations
    assert not any(plots(veiled, value) for value in asked["value"])
    if name != "language":  # which shows means
        assert all(plots(veiled, value) and plots(opened, value) for value in given["value"])
    if name not in ("language", "control"):
        assert all(plots(opened, value) for value in asked["value"])
    # Nothing moves when the veil is lifted.
    for axis in ("xaxis", "yaxis"):
        assert veiled.layout[axis].range == opened.layout[axis].range
    assert set(LESSON_FIGURES) == set(FORMS)


def test_the_control_is_a_diamond_with_the_range_of_its_runs():
    given, asked = drawn("control")
    (diamonds,) = [t for t in LESSON_FIGURES["control"](given, asked).data if t.type == "scatter"]
    runs = [asked[asked.edit.str.endswith(name)].value.to_numpy() for name in ("mean", "least", "most")]
    np.testing.assert_allclose(diamonds.x, 100 * runs[0])
    np.testing.assert_allclose(diamonds.error_x.array, 100 * (runs[2] - runs[0]))
    np.testing.assert_allclose(diamonds.error_x.arrayminus, 100 * (runs[0] - runs[1]))


def test_the_stages_of_the_toy_are_of_one_scale_and_the_last_two_wait():
    toy = toy_engram()
    figures = [
        toy_figure(stage, toy.rows, toy.moments, toy.weights, (toy.filter, toy.engram)) for stage in STAGES
    ]
    assert len({figure.layout.xaxis.range for figure in figures}) == 1
    filtered = toy.rows["B"] @ toy.filter.T
    assert plots(figures[2], filtered[0, 0]) and not plots(figures[1], filtered[0, 0])
    answers = toy.rows["A"] @ toy.engram.T
    assert plots(figures[3], answers[0, 0]) and not plots(figures[2], answers[0, 0])
    # Without the matrices the last stages cannot be drawn, whatever an address says.
    veiled = toy_figure(STAGES[3], toy.rows, toy.moments, toy.weights, None)
    assert not plots(veiled, answers[0, 0])
