"""The figure of a search: every setting where it was measured, the rule, the control, and what was picked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import engram_core as ec
from app.choice.search import Plan, Rule
from app.figures.charts.clicks import picked_points
from app.figures.charts.frontier import frontier_figure
from app.figures.charts.frontier_axes import Extras, root
from app.figures.charts.palette import CONTROL
from app.figures.charts.settings import clicked_row, series_of
from app.figures.words.strength import duration, say_confirmed, say_nearest

ROWS = [
    ("all", 1.0, False, 1.0, 0.20, -0.002),
    ("all", 1.0, False, 2.0, 0.90, 0.01),
    ("all", 1.0, False, 4.0, 0.95, 0.30),
    ("<b>x</b>", 2.0, True, 1.0, 0.10, 0.0),
    ("<b>x</b>", 2.0, True, 2.0, 0.70, 0.04),
    ("<b>x</b>", 2.0, True, 4.0, 0.80, 0.50),
]


def made(rows=ROWS) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["group", "power", "clip", "strength", "lost", "damage"])
    table["scaling"] = "plain"
    for tail, scale in (("", 1.0), ("_nll", 10.0)):
        table[f"lost{tail}"], table[f"damage{tail}"] = scale * table["lost"], scale * table["damage"]
        table[f"base_forget{tail}"] = table[f"base_retain{tail}"] = 1.0
        table[f"forget{tail}"], table[f"retain{tail}"] = 1 - table[f"lost{tail}"], 1 - table[f"damage{tail}"]
    return table


def drawn(figure) -> dict:
    return {trace["name"]: trace for trace in figure.to_dict()["data"]}


def test_every_setting_is_where_it_was_measured_and_the_frontier_joins_the_best():
    table = made()
    traces = drawn(frontier_figure(table, ec.frontier(table)))
    every = traces["settings"]
    np.testing.assert_allclose(every["y"], 100 * table["lost"])
    np.testing.assert_allclose(np.sign(every["x"]) * np.square(every["x"]), 100 * table["damage"])
    assert traces["Frontier"]["y"] == pytest.approx([20.0, 90.0, 95.0])
    assert [text.strip() for text in traces["Frontier"]["text"]] == ["1", "2", "4"]
    assert traces["Base"]["x"] == [0.0] and traces["Base"]["y"] == [0.0]
    names = [name for name, _ in series_of(table)]
    assert names == ["all, selectivity 1", "<b>x</b>, selectivity 2 capped"]


def test_what_lies_on_top_is_unseen_tells_the_setting_and_takes_the_click():
    table = made()
    figure = frontier_figure(table, ec.frontier(table))
    top = figure.data[-1]
    assert top.marker.opacity == 0 and top.hovertemplate and top.hoverinfo != "skip"
    assert "strength 2" in top.hovertext[1] and "90.0 points" in top.hovertext[1]
    assert not any("<b>x" in text for text in top.hovertext)
    assert all(trace.hoverinfo == "skip" for trace in figure.data[:-1] if trace.name != "Base")
    event = {"selection": {"points": [{"customdata": {"0": 4}}]}}
    row = clicked_row(picked_points(event), table)
    assert row is not None and row["strength"] == 2.0 and row["group"] == "<b>x</b>"
    assert clicked_row(picked_points({}), table) is None
    assert clicked_row((99,), table) is None, "a click on a figure that is gone"


@pytest.mark.parametrize(
    ("extras", "name", "axis", "at"),
    [
        (Extras(least=80), "Rule: forget at least 80 points", "y", 80.0),
        (Extras(most=4), "Rule: damage at most 4 points", "x", 2.0),
    ],
)
def test_the_rule_is_a_line_and_a_shaded_side(extras, name, axis, at):
    table = made()
    figure = frontier_figure(table, ec.frontier(table), extras=extras)
    assert drawn(figure)[name][axis] == [at, at]
    shape = figure.layout.shapes[0]
    assert at in (shape.y0, shape.x1)
    assert figure.layout.xaxis.range[0] <= shape.x0 and shape.y1 <= figure.layout.yaxis.range[1]


def test_control_trial_and_picked_setting_stand_apart():
    table = made()
    control = pd.DataFrame({"seed": [0, 1], "lost": [0.3, 0.5], "damage": [0.25, 0.49]})
    setting = table.iloc[1].to_dict()
    figure = frontier_figure(
        table, ec.frontier(table), chosen=setting,
        extras=Extras(control=control, confirmed=(0.04, 0.85), confirmed_on="6 others",
                      picked=table.iloc[4].to_dict()),
    )  # fmt: skip
    traces = drawn(figure)
    sham = traces["Control: random change as large (2 seeds)"]
    assert sham["marker"]["symbol"] == "diamond" and sham["marker"]["color"] == CONTROL
    assert sham["y"] == pytest.approx([40.0]) and sham["x"] == pytest.approx(root([37.0]))
    assert sham["error_y"]["array"] == pytest.approx([10.0])
    assert sham["x"][0] + sham["error_x"]["array"][0] == pytest.approx(7.0)  # √49
    assert traces["Recommended"]["y"] == pytest.approx([90.0]) and traces["Selected"]["y"] == pytest.approx(
        [70.0]
    )
    assert traces["The same on 6 others"]["x"] == pytest.approx([2.0])
    low, high = figure.layout.xaxis.range
    assert all(low <= x <= high for trace in figure.data for x in trace.x)


def test_axes_have_names_units_and_round_ticks():
    table = made()
    for measure, unit in (("score", "points"), ("nll", "nats/token")):
        layout = frontier_figure(table, ec.frontier(table, measure=measure), measure=measure).layout
        for axis, word in ((layout.xaxis, "Damage"), (layout.yaxis, "Forgotten")):
            assert axis.title.text.startswith(word) and unit in axis.title.text
        shown = [float(text.replace("−", "-")) for text in layout.xaxis.ticktext]
        np.testing.assert_allclose(root(shown), layout.xaxis.tickvals)
        assert 0.0 in shown and shown == sorted(shown) and 4 <= len(shown) <= 14
        assert np.diff(layout.xaxis.tickvals).min() > 0.05 * np.ptp(layout.xaxis.range)


def test_many_series_are_marks_without_lines():
    rows = [(f"block {g}", 1.0, False, s, 0.1 * s, 0.01 * s) for g in range(20) for s in (1.0, 2.0)]
    table = made(rows)
    traces = drawn(frontier_figure(table, ec.frontier(table)))
    assert traces["block 3"]["mode"] == "markers" and len(traces["block 3"]["x"]) == 2


def plan() -> Plan:
    sharp, layers = (ec.Sharpness(),), (("all", ("l",)),)
    return Plan((("a",), ("b",)), True, (1.0, 2.0), ("plain",), sharp, layers, 4, 0, 99)


def test_what_trying_it_on_others_means_is_said():
    rule = Rule("Forget at least", 80.0, "score")
    figures = {"lost": 0.9, "damage": 0.01}
    same = pd.DataFrame({"concept": ["c", "d"], "lost": [0.92, 0.9], "damage": [0.0, 0.01]})
    text = say_confirmed(same, figures, rule, plan())
    assert "It holds up" in text and "kept there too" in text and "On 2 concepts" in text
    worse = same.assign(lost=[0.5, 0.7])
    text = say_confirmed(worse, figures, rule, plan())
    assert "by 30.0 points of forgetting" in text and "not kept" in text


def test_a_rule_that_nothing_keeps_names_the_nearest():
    near = made().iloc[2].to_dict()
    text = say_nearest(near, Rule("Forget at least", 97.0, "score"), 6)
    assert "None of the 6 settings" in text and "strength 4" in text and "95.0 points" in text


def test_an_expected_time_is_a_round_number():
    assert [duration(s) for s in (0.2, 4.4, 12, 61, 300, 9000)] == [
        "a second", "4 s", "15 s", "65 s", "5 min", "2.5 hours",
    ]  # fmt: skip
