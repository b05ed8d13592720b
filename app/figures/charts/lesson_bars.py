"""Bars of the tour: a few series over the same rows, the asked ones veiled until there is a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from ..words.as_text import untagged
from .palette import BASE, CONTROL, EDITED, GRID, LOSS, SUBSET
from .veil import veil

__all__ = ["BASE", "CONTROL", "EDITED", "LOSS", "SUBSET", "Series", "lesson_bars"]

_BAR, _ABOVE = 15, 104  # pixels of a bar, and of all that is no bar
_LETTER, _LONGEST = 7.2, 24


@dataclass(frozen=True)
class Series:
    """One value per row.

    Attributes:
        name: for the legend.
        colour: of its bars.
        values: by row, in the unit of the axis.
        low: least of several runs by row; with it the series is drawn as diamonds with whiskers.
        high: greatest of several runs by row.
    """

    name: str
    colour: str
    values: Mapping[str, float]
    low: Mapping[str, float] | None = None
    high: Mapping[str, float] | None = None


def lesson_bars(
    rows: Sequence[str],
    given: Sequence[Series],
    asked: Sequence[Series] | None,
    *,
    title: str,
    reach: tuple[float, float] = (0.0, 102.0),
    bars: int = 2,
    marked: str = "",
    number: str = ".1f",
) -> go.Figure:
    """Draw the series of a step.

    Args:
        rows: names, from top to bottom.
        given: what is known before the question.
        asked: what answers it; None while it is veiled.
        title: of the axis, with the unit.
        reach: ends of the axis.
        bars: how many bars each row has once the veil is lifted: the height is that from the start.
        marked: a row in bold letters.
        number: how a value is written in the hover text.

    Returns:
        The figure; while it is veiled, nothing of the answer is in it.
    """
    shown = [*given, *(asked or ())]
    traces = [_trace(series, rows, number) for series in shown]
    names = [f"<b>{untagged(name)}</b>" if name == marked else untagged(_short(name)) for name in rows]
    side = _LETTER * max(map(len, (_short(name) for name in rows)))
    layout: dict[str, Any] = {
        "barmode": "group", "bargap": 0.3, "bargroupgap": 0.08, "dragmode": False, "hovermode": "closest",
        "height": int(_BAR * len(rows) * max(1.6, bars + 0.6)) + _ABOVE,
        "margin": {"l": int(side) + 18, "r": 14, "t": 40, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": bool(shown),
        "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "yaxis": {"range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
                  "showgrid": False, "zeroline": False, "fixedrange": True, "tickfont": {"size": 13}},
        "xaxis": {"title": {"text": title}, "range": list(reach), "gridcolor": GRID, "zeroline": True,
                  "zerolinecolor": GRID, "fixedrange": True, "tickangle": 0, "nticks": 6},
    }  # fmt: skip
    if asked is None:
        layout |= veil()
    return go.Figure(data=traces, layout=layout)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _trace(series: Series, rows: Sequence[str], number: str) -> dict[str, Any]:
    # Rows by number: a class called "7" as a category would be taken for a place on the axis.
    values = [float(series.values[name]) for name in rows]
    common = {
        "name": series.name, "x": values, "y": list(range(len(rows))),
        "customdata": [untagged(n) for n in rows],
        "hovertemplate": f"%{{customdata}}: %{{x:{number}}}<extra>{untagged(series.name)}</extra>",
    }  # fmt: skip
    if series.low is None or series.high is None:
        return common | {
            "type": "bar", "orientation": "h", "marker": {"color": series.colour, "line": {"width": 0}},
        }  # fmt: skip
    return common | {
        "type": "scatter", "mode": "markers",
        "marker": {"symbol": "diamond", "size": 9, "color": series.colour,
                   "line": {"width": 1, "color": "white"}},
        "error_x": {
            "type": "data", "symmetric": False, "color": series.colour, "thickness": 1.5, "width": 3,
            "array": [series.high[name] - series.values[name] for name in rows],
            "arrayminus": [series.values[name] - series.low[name] for name in rows],
        },
    }  # fmt: skip
