"""A strength curve: what a concept and the others score as the edit grows stronger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .palette import BASE, EDITED, GRID, LOSS

__all__ = ["curve"]

_HEIGHT = 320


def curve(table: pd.DataFrame, *, name: str, others: str, unit: str, strength: float | None) -> go.Figure:
    """Draw scores against strength.

    Args:
        table: strength, forget, retain: shares of 1, by strength.
        name: what is erased, in Plotly's HTML.
        others: what the others are called.
        unit: what a score is, with its unit.
        strength: the strength that is in force; None for none.

    Returns:
        The figure.
    """
    x = table["strength"].to_numpy(float)
    traces: list[dict[str, Any]] = []
    for title, column, colour, symbol in (
        (others, "retain", EDITED, "square"),
        (name, "forget", LOSS, "circle"),
    ):
        y = 100 * table[column].to_numpy(float)
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": title, "x": x.tolist(),
            "y": [float(v) if np.isfinite(v) else None for v in y],
            "line": {"color": colour, "width": 2.5}, "marker": {"symbol": symbol, "size": 9},
            "hovertemplate": "strength %{x:g}: %{y:.1f} %<extra>" + title + "</extra>",
        })  # fmt: skip
    shapes = []
    if strength is not None:
        shapes.append({
            "type": "line", "x0": strength, "x1": strength, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": BASE, "width": 2, "dash": "dash"}, "layer": "below",
        })  # fmt: skip
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "fixedrange": True}
    return go.Figure(data=traces, layout={
        "height": _HEIGHT, "margin": {"l": 8, "r": 8, "t": 34, "b": 8}, "dragmode": False,
        "hovermode": "closest", "shapes": shapes,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": axis | {"title": {"text": "Strength"}, "rangemode": "tozero"},
        "yaxis": axis | {"title": {"text": unit}, "range": [-3, 104]},
    })  # fmt: skip
