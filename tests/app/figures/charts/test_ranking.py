"""Rankings and curves hold the numbers they were given, with their controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest

from app.figures.charts.curve import curve
from app.figures.charts.palette import GAIN, LOSS
from app.figures.charts.ranking import ranking


def test_bars_hold_values_in_order_with_losses_and_gains_apart():
    values = np.array([-12.5, -0.02, 3.0])
    control = (np.array([-1.0, -2.0, 0.0]), np.array([-3.0, -4.0, -1.0]), np.array([0.0, 1.0, 2.0]))
    figure = ranking(["a", "<b>", "c"], values, value="points", row="Concept", control=control, seeds=4)
    bars, texts, marks = figure.data
    assert list(bars.x) == values.tolist() and list(bars.marker.color) == [LOSS, LOSS, GAIN]
    assert [text.strip("\u2009") for text in texts.text] == ["−12.5", "0.0", "+3.0"]
    np.testing.assert_allclose(np.array(marks.x) + np.array(marks.error_x.array), control[2])
    np.testing.assert_allclose(np.array(marks.x) - np.array(marks.error_x.arrayminus), control[1])
    assert "4 seeds" in marks.name and "<b>" not in pio.to_json(figure).replace("\\u003c", "<")
    low, high = figure.layout.xaxis.range
    assert low < -12.5 and high > 3.0


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [np.nan, 1.0], [-1e-9, -2e-9], [100.0]])
def test_any_values_can_be_drawn(values):
    figure = ranking([f"c{i}" for i in range(len(values))], np.array(values), value="v", row="r")
    low, high = figure.layout.xaxis.range
    assert low < high and np.isfinite([low, high]).all() and pio.to_json(figure)


def test_a_curve_holds_both_scores_and_the_strength_in_force():
    table = pd.DataFrame(
        {"strength": [0, 1.0, 2.0], "forget": [0.9, 0.2, 0.0], "retain": [0.95, 0.9, np.nan]}
    )
    figure = curve(table, name="a", others="mean of 6 others", unit="Accuracy (%)", strength=1.5)
    rest, mine = figure.data
    assert list(mine.y) == [90, 20, 0] and list(rest.y) == [95, 90, None] and list(mine.x) == [0, 1, 2]
    assert figure.layout.shapes[0].x0 == 1.5
    assert not curve(table, name="a", others="o", unit="u", strength=None).layout.shapes
