"""Heatmaps, dots and spectra hold the numbers they were given, legibly, for few and for many rows."""

import numpy as np
import plotly.io as pio
import pytest

from app.figures.charts.clicks import cell_of
from app.figures.charts.colour_scale import Scale, bar_title
from app.figures.charts.dots import Dots, dots
from app.figures.charts.heatmap import heatmap
from app.figures.charts.labels import label, labels
from app.figures.charts.spectra import exclusivity_figure, spectrum_figure

SCALE = Scale("Accuracy (%)", 0.0, 100.0, number=".0f")


def drawn(rows: int, columns: int, **options):
    values = np.arange(rows * columns, dtype=float).reshape(rows, columns)
    names = [[f"{side}{i}" for i in range(n)] for side, n in (("r", rows), ("c", columns))]
    return values, heatmap(values, *names, row="Row", column="Column", scale=SCALE, **options)


def test_every_known_cell_can_be_clicked_and_says_what_it_is():
    values = np.array([[1.0, np.nan], [3.0, 4.0]])
    figure = heatmap(values, ["a", "b"], ["c", "d"], row="Probe", column="Engram", scale=SCALE)
    marks = figure.data[1]
    assert [list(pair) for pair in marks.customdata] == [["a", "c"], ["b", "c"], ["b", "d"]]
    assert list(marks.x) == [0, 0, 1] and list(marks.y) == [0, 1, 1] and marks.opacity == 0
    assert "Probe: b" in marks.text[2] and "Engram: d" in marks.text[2] and "4" in marks.text[2]


@pytest.mark.parametrize("customdata", [["probe", "edited"], {"0": "probe", "1": "edited"}])
def test_a_click_is_read_however_it_arrives(customdata):
    event = {"selection": {"points": [{"customdata": customdata, "x": 1}]}}
    assert cell_of(event) == ("probe", "edited")
    assert cell_of({"selection": {"points": []}}) is None and cell_of(None) is None


def test_the_base_column_stands_apart_and_the_chosen_cell_is_outlined():
    names = ["a", "b", "c"]
    figure = heatmap(
        np.eye(3), names, names, row="Probe", column="Engram", scale=SCALE,
        before=("base", np.array([97.0, 98.0, 99.0])), selected=("b", "c"),
    )  # fmt: skip
    assert [line[0] for line in figure.data[1].z] == [97.0, 98.0, 99.0] and figure.data[1].x0 < -1
    assert "base" in figure.layout.xaxis.ticktext[0]
    # three on the diagonal, and the chosen one
    assert [(s.x0 + 0.5, s.y0 + 0.5) for s in figure.layout.shapes] == [(0, 0), (1, 1), (2, 2), (2, 1)]
    # the base column is no cell of the matrix: a click there opens nothing
    assert figure.data[3].customdata is None


@pytest.mark.parametrize("rows", [3, 28, 210])
def test_many_rows_stay_on_a_screen_and_their_labels_never_touch(rows):
    _, figure = drawn(rows, 24)
    layout = figure.layout
    assert layout.height < 1150
    step = layout.yaxis.tickvals[1] - layout.yaxis.tickvals[0]
    assert step * min(30, 900 / rows) >= 13
    assert pio.to_json(figure)


def test_a_few_empty_cells_do_not_take_all_the_logarithmic_colours():
    values = np.array([[0.5, 0.02], [0.1, 1e-9]])
    figure = heatmap(
        values,
        ["a", "b"],
        ["c", "d"],
        row="Layer",
        column="Concept",
        scale=Scale("size", log=True, number=".2g"),
    )
    bar = figure.data[0].colorbar
    assert figure.data[0].zmin == pytest.approx(np.log10(0.5) - 3)
    assert bar.ticktext[0] == "≤ 0.0005" and bar.tickvals[0] == figure.data[0].zmin
    assert "1e" in figure.data[1].text[3]  # the number itself is not cut


def test_logarithmic_colours_keep_the_numbers_in_the_texts():
    values = np.array([[0.01, 1.0], [0.0, 100.0]])
    figure = heatmap(
        values, ["a", "b"], ["c", "d"], row="Layer", column="Concept",
        scale=Scale("size", log=True, number=".2g"),
    )  # fmt: skip
    assert [list(line) for line in figure.data[0].z] == [[-2.0, 0.0], [None, 2.0]]
    said = [line.partition("size: ")[2] for line in figure.data[1].text]
    assert said == ["0.01", "1", "0", "1e+02"]


def test_names_are_no_html_and_paths_lose_what_they_share():
    assert "<" not in label("<script>alert(1)</script>") and len(label("x" * 90)) <= 24
    assert labels(["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"]) == [
        "0.mlp.up_proj",
        "1.mlp.up_proj",
    ]
    assert labels(["fc1", "fc2"]) == ["fc1", "fc2"] and labels(["a.b"]) == ["a.b"]
    assert labels(["A. Smith", "A. Jones"]) == ["A. Smith", "A. Jones"]


def test_dots_hold_values_and_the_ends_of_their_lines():
    mean, low, high = np.array([1.0, 5.0]), np.array([0.0, 4.0]), np.array([3.0, 9.0])
    figure = dots(
        ["a", "b"], [Dots("sham", mean, "#CC79A7", "diamond", low, high)], row="Concept", value="points",
        lines=[("base", 7.0, "#8A94A3")],
    )  # fmt: skip
    line, marks = figure.data
    assert list(line.x) == [7.0, 7.0]
    np.testing.assert_allclose(np.array(marks.x) + np.array(marks.error_x.array), high)
    np.testing.assert_allclose(np.array(marks.x) - np.array(marks.error_x.arrayminus), low)


def test_the_spectrum_counts_what_the_cut_keeps_and_what_cannot_be_drawn():
    values = np.array([100.0, 10.0, 1.0, 1e-9, 0.0])
    figure = spectrum_figure(values, 0.5)
    kept, removed, cut = figure.data
    assert list(kept.y) == [100.0, 10.0, 1.0] and "(3)" in kept.name
    assert (
        list(removed.y) == [1e-9] and "(2)" in removed.name
    )  # two are removed, one of them has no logarithm
    assert list(cut.y) == [0.5, 0.5] and figure.layout.yaxis.type == "log"


def test_every_direction_is_in_one_band_of_exclusivity():
    mu = np.array([1.0, 0.9, 0.89, 0.5, 0.2, 0.01])
    figure = exclusivity_figure(mu, 0.1)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert sum(len(bar.x) for bar in bars) == len(mu)
    np.testing.assert_allclose(sorted(y for bar in bars for y in bar.y), sorted(mu))
    assert list(bars[0].y) == [1.0, 0.9]


def test_the_title_of_a_low_colour_bar_is_folded_and_keeps_every_word():
    long = "Leak + residue (% of ‖W X‖²)"
    low, tall = bar_title(long, 90)["text"], bar_title(long, 900)["text"]
    assert tall == long and low.replace("<br>", " ") == long
    assert max(len(line) for line in low.split("<br>")) * 7 < 100
    _, figure = drawn(3, 10)
    assert figure.data[0].colorbar.title.text.replace("<br>", " ") == SCALE.title


def test_signed_colours_have_their_middle_at_zero():
    values = np.array([[1.0, -0.4], [0.1, 1.0]])
    names = ["a", "b"]
    for scale, reach in ((Scale("Cosine", high=1.0, signed=True), 1.0), (Scale("Change", signed=True), 1.0)):
        heat = drawn_with(values, names, scale)
        assert (heat.zmin, heat.zmax) == (-reach, reach)
        assert heat.colorscale[0][1] != heat.colorscale[-1][1] and heat.colorscale[1][0] == 0.5


def test_square_roots_keep_signs_and_the_bar_says_the_values_themselves():
    values = np.array([[-100.0, -4.0], [0.0, 1.0]])
    heat = drawn_with(values, ["a", "b"], Scale("Change", high=100.0, signed=True, root=True))
    assert [list(line) for line in heat.z] == [[-10.0, -2.0], [0.0, 1.0]] and (heat.zmin, heat.zmax) == (
        -10,
        10,
    )
    ticks = dict(zip(heat.colorbar.ticktext, heat.colorbar.tickvals, strict=True))
    assert ticks["0"] == 0 and ticks["−100"] == -10 and ticks["+100"] == 10 and len(ticks) > 4
    for text, place in ticks.items():
        assert np.sign(place) * place**2 == pytest.approx(float(text.replace("−", "-")))


def test_a_row_that_stands_apart_is_drawn_above_and_opens_nothing():
    names = ["a", "b"]
    figure = heatmap(
        np.eye(2), names, names, row="Probe", column="Kept", scale=SCALE,
        above=("elsewhere", np.array([3.0, 90.0])),
    )  # fmt: skip
    apart = figure.data[1]
    assert (
        [list(line) for line in apart.z] == [[3.0, 90.0]]
        and apart.y0 < -1
        and "elsewhere" in figure.layout.yaxis.ticktext[0]
    )
    said = next(
        trace
        for trace in figure.data
        if trace.text is not None and "Kept: b<br>elsewhere: 90 %" in trace.text
    )
    assert said.customdata is None and figure.layout.yaxis.range[1] < apart.y0


def test_what_is_written_may_be_another_number_than_the_colour():
    names = ["a", "b"]
    figure = heatmap(
        np.array([[-97.0, 0.0], [-4.0, -96.0]]), names, names, row="Probe", column="Erased",
        scale=Scale("Change", high=100.0, signed=True, root=True, number=".0f"),
        written=[["0", "98"], ["95", "1"]], before=("base", np.array([97.0, 99.0])),
    )  # fmt: skip
    heats = [trace for trace in figure.data if trace.type == "heatmap"]
    written = {text for trace in heats for line in trace.text or () for text in line}
    assert written - {""} == {"0", "98", "95", "1", "97", "99"}
    before = figure.data[1]
    assert (
        before.colorscale[0][1] == before.colorscale[1][1]
    )  # the base is no change, so it has no colour of one


def drawn_with(values: np.ndarray, names: list[str], scale: Scale):
    return heatmap(values, names, names, row="Row", column="Column", scale=scale).data[0]
