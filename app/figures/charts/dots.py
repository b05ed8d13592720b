"""Dots on a line per row: an effect, and the shams it must stand against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .highlight import named
from .labels import labels
from .palette import GRID

__all__ = ["Dots", "dots"]


@dataclass(frozen=True)
class Dots:
    """One value per row.

    Attributes:
        title: name in the legend.
        values: shape (rows,); NaN where there is none.
        colour: of the marks.
        symbol: of the marks, as Plotly calls it.
        low, high: ends of a line through each mark; None without.
    """

    title: str
    values: np.ndarray
    colour: str
    symbol: str = "circle"
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def dots(
    rows: Sequence[str],
    series: Sequence[Dots],
    *,
    row: str,
    value: str,
    lines: Sequence[tuple[str, float, str]] = (),
    span: tuple[float, float] | None = None,
    number: str = ".1f",
) -> go.Figure:
    """Draw marks, one line per row.

    Args:
        rows: names, from top to bottom.
        series: what is drawn in every row.
        row: what a row is.
        value: what a value is, with its unit.
        lines: title, place and colour of vertical lines, such as the base.
        span: ends of the axis of values.
        number: how a value is written under the mouse (a format of Python).

    Returns:
        The figure.
    """
    height = min(28.0, max(9.0, 900 / max(len(rows), 1)))
    step = max(1, int(np.ceil(13 / height)))
    names = labels(rows)
    traces: list[dict[str, Any]] = []
    for title, place, colour in lines:
        traces.append(
            {
                "type": "scatter", "mode": "lines", "x": [place, place], "y": [-0.5, len(rows) - 0.5],
                "name": title, "line": {"color": colour, "width": 2, "dash": "dash"},
                "hovertemplate": f"{title}: {place:{number}}<extra></extra>",
            }
        )  # fmt: skip
    for one in series:
        trace: dict[str, Any] = {
            "type": "scatter", "mode": "markers", "name": one.title, "y": list(range(len(rows))),
            "x": [float(v) if np.isfinite(v) else None for v in np.asarray(one.values, float)],
            "customdata": names, # A control at the very place of the effect stays in sight behind it.
            "marker": {"color": one.colour, "size": 10 if one.symbol == "circle" else 13,
                       "symbol": one.symbol},
            "hovertemplate": f"%{{customdata}}: %{{x:{number}}}<extra>" + one.title + "</extra>",
        }  # fmt: skip
        if one.low is not None and one.high is not None:
            trace["error_x"] = {
                "type": "data", "symmetric": False, "color": one.colour, "thickness": 1.5, "width": 3,
                "array": np.nan_to_num(one.high - one.values).tolist(),
                "arrayminus": np.nan_to_num(one.values - one.low).tolist(),
            }  # fmt: skip
        traces.append(trace)
    x: dict[str, Any] = {
        "title": {"text": value},
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "fixedrange": True,
    }
    if span is not None:
        x["range"] = list(span)
    return go.Figure(
        data=traces,
        layout={
            "height": int(height * len(rows) + 150), "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "dragmode": False, "hovermode": "closest", "paper_bgcolor": "rgba(0,0,0,0)",
            "meta": named(rows=rows),
            "plot_bgcolor": "rgba(0,0,0,0)", "showlegend": True,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": x,
            "yaxis": {
                "title": {"text": row}, "range": [len(rows) - 0.5, -0.5],
                "tickvals": list(range(0, len(rows), step)), "ticktext": names[::step], "gridcolor": GRID,
                "zeroline": False, "fixedrange": True, "automargin": True, "ticklabelstandoff": 4,
            },
        },
    )  # fmt: skip
