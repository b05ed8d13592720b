"""The selected concept is outlined wherever a figure has it, and a figure that lacks it is left alone."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.figures.charts.bars import paired_bars
from app.figures.charts.colour_scale import Scale
from app.figures.charts.dots import Dots, dots
from app.figures.charts.heatmap import heatmap
from app.figures.charts.highlight import highlighted
from app.figures.charts.palette import SELECTED

NAMES = ["a", "b", "<i>c</i>"]


def matrix() -> go.Figure:
    return heatmap(np.eye(3), NAMES, NAMES, row="Row", column="Column", scale=Scale("Value"))


def outlines(figure: go.Figure) -> list[tuple[str, float, float]]:
    """Return the outlined rows ("y") and columns ("x") with their ends."""
    return [
        ("y", s.y0, s.y1) if s.xref == "paper" else ("x", s.x0, s.x1)
        for s in figure.layout.shapes
        if s.line.color == SELECTED
    ]


def test_a_matrix_has_row_and_column_outlined_and_keeps_what_it_has():
    figure = matrix()
    marked = highlighted(figure, "b")
    assert outlines(marked) == [("y", 0.5, 1.5), ("x", 0.5, 1.5)] and outlines(figure) == []
    assert len(marked.layout.shapes) == len(figure.layout.shapes) + 2
    assert outlines(highlighted(figure, "<i>c</i>")) == [("y", 1.5, 2.5), ("x", 1.5, 2.5)]
    assert "<i>" not in marked.layout.to_plotly_json()["meta"]["rows"][2]


def test_bars_and_dots_have_their_row_outlined():
    bars = paired_bars(NAMES, np.ones(3), np.zeros(3), value="Accuracy (%)", marks={})
    marks = dots(NAMES, [Dots("effect", np.arange(3.0), "#0072B2")], row="Concept", value="points")
    assert outlines(highlighted(bars, "a")) == outlines(highlighted(marks, "a")) == [("y", -0.5, 0.5)]


def test_nothing_selected_or_nobody_there_changes_nothing():
    figure, plain = matrix(), go.Figure()
    assert highlighted(figure, "") is figure and highlighted(figure, "z") is figure
    assert highlighted(plain, "a") is plain
