"""The curve of the tour: accuracy over strength, what lies between two known strengths veiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from .palette import BASE, EDITED, GRID
from .veil import veil

__all__ = ["lesson_curve"]

_HEIGHT = 360
_COLOURS = (EDITED, BASE)


def lesson_curve(
    given: Mapping[str, Mapping[float, float]],
    asked: Mapping[str, Mapping[float, float]] | None,
    *,
    across: str,
    up: str,
    furthest: float,
) -> go.Figure:
    """Draw values over strengths.

    Args:
        given: known before the question: name of the curve → strength → value in per cent.
        asked: what answers it; None while it is veiled.
        across: title of the axis of strengths.
        up: title of the other.
        furthest: end of the axis of strengths.

    Returns:
        The figure; while it is veiled, nothing of the answer is in it.
    """
    traces = []
    for (name, known), colour in zip(given.items(), _COLOURS, strict=False):
        points = sorted((dict(known) | dict((asked or {}).get(name, {}))).items())
        traces.append({
            "type": "scatter", "name": name, "mode": "markers" if asked is None else "lines+markers",
            "x": [x for x, _ in points], "y": [y for _, y in points],
            "line": {"color": colour, "width": 2}, "marker": {"color": colour, "size": 9},
            "hovertemplate": f"{name}: %{{y:.1f}} % at %{{x:g}}<extra></extra>",
        })  # fmt: skip
    axis = {"gridcolor": GRID, "zeroline": False, "fixedrange": True}
    layout: dict[str, Any] = {
        "height": _HEIGHT, "dragmode": False, "hovermode": "closest",
        "margin": {"l": 56, "r": 14, "t": 40, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
        "xaxis": axis | {"title": {"text": across}, "range": [-0.08, furthest + 0.08], "nticks": 9},
        "yaxis": axis | {"title": {"text": up}, "range": [-4, 104], "tickvals": [0, 25, 50, 75, 100]},
    }  # fmt: skip
    if asked is None:
        layout |= veil()
    return go.Figure(data=traces, layout=layout)
