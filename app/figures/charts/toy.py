"""The worked example that can be drawn: rows, second moments, the filter and the engram, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..words.toy import STAGES
from .palette import EDITED, GRID, LOSS

__all__ = ["toy_figure"]

_COLOURS = {"A": EDITED, "B": LOSS}
_SHAPES = {"A": "circle", "B": "square"}
_HEIGHT = 400
_EDGE = 0.25


def toy_figure(
    stage: str,
    rows: Mapping[str, np.ndarray],
    moments: Mapping[str, np.ndarray],
    weights: np.ndarray,
    matrices: tuple[np.ndarray, np.ndarray] | None,
) -> go.Figure:
    """Draw one stage.

    Args:
        stage: one of `STAGES`.
        rows: rows of each concept, (rows, 2).
        moments: Σ of each concept, (2, 2).
        weights: of the layer, (2, 2).
        matrices: filter and engram of A, for the last two stages.

    Returns:
        The figure. The axes stay the same for the first three stages; the last one shows answers.
    """
    before, after, axis = dict(rows), None, "row"
    if stage == STAGES[2] and matrices is not None:
        after = {name: values @ matrices[0].T for name, values in rows.items()}
    if stage == STAGES[3] and matrices is not None:
        before = {name: values @ weights.T for name, values in rows.items()}
        after = {name: values @ matrices[1].T for name, values in rows.items()}
        axis = "answer"
    traces: list[dict[str, Any]] = []
    for name, values in before.items():
        traces += _ellipse(name, moments[name] / len(values)) if stage == STAGES[1] else []
        if after is not None:
            traces.append(_lines(name, values, after[name]))
        traces.append(_points(name, values, stage, hollow=after is not None))
        if after is not None:
            traces.append(_points(name, after[name], stage, hollow=False, result=True))
    # One scale for rows and for answers: what shrinks is seen to shrink.
    every = [*rows.values(), *(values @ weights.T for values in rows.values())]
    low, high = (np.stack([getattr(v, side)(0) for v in every]) for side in ("min", "max"))
    ends = [[min(float(low[:, i].min()), 0.0) - _EDGE, float(high[:, i].max()) + _EDGE] for i in range(2)]
    line = {"gridcolor": GRID, "zerolinecolor": "rgba(128,128,128,0.6)", "fixedrange": True}
    return go.Figure(data=traces, layout={
        "height": _HEIGHT, "dragmode": False, "hovermode": "closest",
        "margin": {"l": 50, "r": 14, "t": 40, "b": 46},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
        "xaxis": line | {"title": {"text": f"First number of the {axis}"}, "range": ends[0]},
        "yaxis": line | {"title": {"text": f"Second number of the {axis}"}, "range": ends[1],
                         "scaleanchor": "x"},
    })  # fmt: skip


_SAID = {STAGES[2]: ("row", "row after the filter"), STAGES[3]: ("the layer's answer", "the engram's answer")}


def _points(
    name: str, values: np.ndarray, stage: str, *, hollow: bool, result: bool = False
) -> dict[str, Any]:
    said = _SAID.get(stage, ("rows",))[-1 if result else 0]
    colour = _COLOURS[name]
    return {
        "type": "scatter", "mode": "markers", "name": f"{name}: {said}",
        "x": values[:, 0].tolist(), "y": values[:, 1].tolist(),
        "marker": {"symbol": f"{_SHAPES[name]}{'-open' if hollow else ''}", "size": 10, "color": colour,
                   "line": {"width": 1.5, "color": colour}},
        "hovertemplate": f"{name}: (%{{x:.2f}}, %{{y:.2f}})<extra></extra>",
    }  # fmt: skip


def _lines(name: str, start: np.ndarray, end: np.ndarray) -> dict[str, Any]:
    across: list[float | None] = []
    up: list[float | None] = []
    for one, other in zip(start, end, strict=True):
        across += [float(one[0]), float(other[0]), None]
        up += [float(one[1]), float(other[1]), None]
    return {
        "type": "scatter", "mode": "lines", "x": across, "y": up, "showlegend": False, "hoverinfo": "skip",
        "line": {"color": _COLOURS[name], "width": 1, "dash": "dot"},
    }  # fmt: skip


def _ellipse(name: str, mean_moment: np.ndarray) -> list[dict[str, Any]]:
    """Return the ellipse of a second moment: in every direction, how far a row reaches (root mean square)."""
    values, vectors = np.linalg.eigh(mean_moment)
    turn = np.linspace(0, 2 * np.pi, 73)
    edge = vectors @ (np.sqrt(values)[:, None] * np.stack([np.cos(turn), np.sin(turn)]))
    return [{
        "type": "scatter", "mode": "lines", "x": edge[0].tolist(), "y": edge[1].tolist(), "fill": "toself",
        "name": f"Σ of {name}", "line": {"color": _COLOURS[name], "width": 2},
        "opacity": 0.45, "hoverinfo": "skip",
    }]  # fmt: skip
