"""Every letter on a cell can be read: a contrast of 4.5 to 1 or more, whatever the colours and the theme."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from app.figures.charts.colour_scale import Scale
from app.figures.charts.contrast import INKS, colour_at, contrast, ink
from app.figures.charts.heatmap import heatmap
from app.figures.charts.palette import HARM, NEUTRAL, SIGNED, SIZES
from app.figures.charts.presenting import enlarged

LEAST = 4.5  # WCAG 2.2, level AA


def test_the_ratio_is_that_of_the_standard():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21) and contrast("#777777", "#777777") == 1
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.005)
    assert contrast("rgb(118, 118, 118)", "#FFFFFF") == contrast("#FFFFFF", "#767676")


def test_colours_are_mixed_between_stops_and_end_at_the_ends():
    scale = [[0.0, "#000000"], [0.5, "#FF0000"], [1.0, "#FFFFFF"]]
    assert colour_at(scale, 0.25) == (127.5, 0, 0) and colour_at(scale, 0.75) == (255, 127.5, 127.5)
    assert colour_at(scale, -1) == (0, 0, 0) and colour_at(scale, 2) == (255, 255, 255)


@pytest.mark.parametrize("scale", [SIZES, SIGNED, HARM, NEUTRAL])
def test_on_every_colour_of_every_scale_black_or_white_can_be_read(scale):
    for share in np.linspace(0, 1, 501):
        behind = colour_at(scale, share)
        assert contrast(ink(behind), behind) >= LEAST


SCALES = {
    "scores": Scale("Accuracy (%)", 0.0, 100.0, number=".0f"),
    "changes": Scale("Change (points)", high=100.0, signed=True, root=True, number=".0f"),
    "cosines": Scale("Cosine", high=1.0, signed=True),
    "sizes": Scale("Size", log=True, number="#.2g"),
}


def letters(figure: go.Figure) -> dict[tuple[float, float], tuple[str, str]]:
    """Return what is written at each place, with its colour."""
    found = {}
    for trace in figure.data:
        if trace.type != "heatmap" or not trace.texttemplate:
            continue
        # Clear cells: what is behind is what another trace has painted, on pages light or dark.
        assert {colour for _, colour in trace.colorscale} == {"rgba(0,0,0,0)"}
        for i, line in enumerate(trace.text):
            for j, text in enumerate(line):
                if trace.z[i][j] is not None:
                    found[trace.x0 + j, trace.y0 + i] = text, trace.textfont.color
    return found


def painted(figure: go.Figure) -> dict[tuple[float, float], tuple[float, float, float]]:
    """Return the colour of each cell, by what Plotly is told."""
    found = {}
    for trace in figure.data:
        if trace.type != "heatmap" or trace.texttemplate:
            continue
        for i, line in enumerate(trace.z):
            for j, value in enumerate(line):
                if value is not None:
                    share = (value - trace.zmin) / (trace.zmax - trace.zmin)
                    found[trace.x0 + j, trace.y0 + i] = colour_at(trace.colorscale, share)
    return found


@pytest.mark.parametrize("presenting", [False, True])
@pytest.mark.parametrize("kind", SCALES)
def test_every_cell_of_a_matrix_can_be_read_in_light_and_dark(kind, presenting):
    scale, noise, names = SCALES[kind], np.random.default_rng(0), [f"c{i}" for i in range(12)]
    values = noise.uniform(-1, 1, (12, 12)) if scale.signed else 10 ** noise.uniform(-3, 0, (12, 12))
    values *= scale.high or 1.0
    values[3, 4] = np.nan
    figure = heatmap(
        values, names, names, row="Row", column="Column", scale=scale,
        before=("base", noise.uniform(0, 100, 12)), above=("elsewhere", noise.uniform(0, 100, 12)),
    )  # fmt: skip
    figure = enlarged(figure) if presenting else figure
    said, cells = letters(figure), painted(figure)
    assert set(said) == set(cells) and len(cells) == 12 * 12 - 1 + 2 * 12
    for place, (text, colour) in said.items():
        assert text and colour in INKS and contrast(colour, cells[place]) >= LEAST
