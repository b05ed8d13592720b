"""Spectra: what a layer's inputs span, with the cut; and how far each direction is a concept's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from .palette import BASE, EDITED, GRID, LOSS

__all__ = ["BANDS", "exclusivity_figure", "spectrum_figure"]

BANDS: tuple[tuple[str, float, str], ...] = (
    ("own (μ ≥ .9)", 0.9, "#0072B2"),
    ("mostly own (.5 to .9)", 0.5, "#56B4E9"),
    ("shared (.1 to .5)", 0.1, "#E69F00"),
    ("mostly others' (below .1)", 0.0, "#8A94A3"),
)
"""Bands of exclusivity: name, least μ, colour."""

_MOST = 3000  # points in one line; more are thinned evenly


def _layout(x: dict[str, Any], y: dict[str, Any], height: int = 380, **more: Any) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "zeroline": False, "fixedrange": True, "automargin": True}
    return {
        "height": height, "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "dragmode": False,
        "hovermode": "closest", "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": True, "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": axis | x, "yaxis": axis | y,
    } | more  # fmt: skip


def _thin(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _MOST)).astype(int)) if count else np.array([], int)


def spectrum_figure(eigenvalues: np.ndarray, threshold: float) -> go.Figure:
    """Draw the spectrum of a layer's inputs, descending, and the cut.

    Args:
        eigenvalues: shape (directions,), descending; zeros are counted and not drawn.
        threshold: the cut: what is at or below it counts as zero.

    Returns:
        The figure.
    """
    values = np.asarray(eigenvalues, float)
    places = np.arange(1, len(values) + 1)
    kept = values > threshold
    traces = []
    for title, chosen, colour in (("kept", kept, EDITED), ("removed by the cut", ~kept, LOSS)):
        some = np.flatnonzero(chosen & (values > 0))
        some = some[_thin(len(some))]
        if len(some):
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "name": f"{title} ({int(chosen.sum()):,})",
                    "x": places[some].tolist(), "y": values[some].tolist(),
                    "marker": {"color": colour, "size": 6, "symbol": "circle" if chosen is kept else "x"},
                    "hovertemplate": f"direction %{{x}}: %{{y:.3g}}<extra>{title}</extra>",
                }
            )  # fmt: skip
    if threshold > 0:
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": f"the cut ({threshold:.2g})",
                "x": [1, max(len(values), 2)], "y": [threshold, threshold],
                "line": {"color": LOSS, "width": 2, "dash": "dash"},
                "hovertemplate": f"the cut: {threshold:.3g}<extra></extra>",
            }
        )  # fmt: skip
    return go.Figure(
        data=traces,
        layout=_layout(
            {"title": {"text": "Direction (by size)"}},
            {
                "title": {"text": "Eigenvalue (logarithmic)"},
                "type": "log",
                "dtick": _decades(values[values > 0]),
                "exponentformat": "power",
            },
        ),
    )


def _decades(values: np.ndarray) -> int:
    """Return after how many powers of ten the next one is named, so that their names never touch."""
    span = np.log10(values.max() / values.min()) if len(values) else 0.0
    return max(1, int(np.ceil(span / 8)))


def exclusivity_figure(mu: np.ndarray, share: float) -> go.Figure:
    """Draw the exclusivity of each direction of a concept in a layer.

    Args:
        mu: shape (directions,), descending.
        share: the concept's share of the recorded inputs, for a line.

    Returns:
        The figure.
    """
    values = np.asarray(mu, float)
    places = np.arange(1, len(values) + 1)
    traces: list[dict[str, Any]] = []
    upper = np.inf
    for title, low, colour in BANDS:
        some = np.flatnonzero((values >= low) & (values < upper))
        upper = low
        if len(some):
            few = some[_thin(len(some))]
            traces.append(
                {
                    "type": "bar", "name": f"{title}: {len(some):,}", "x": places[few].tolist(),
                    "y": values[few].tolist(), "marker": {"color": colour, "line": {"width": 0}},
                    "hovertemplate": "direction %{x}: μ = %{y:.3f}<extra></extra>",
                }
            )  # fmt: skip
    traces.append(
        {
            "type": "scatter", "mode": "lines", "name": f"the concept's share of the data ({share:.1%})",
            "x": [0.5, max(len(values), 1) + 0.5], "y": [share, share],
            "line": {"color": BASE, "width": 2, "dash": "dash"}, "hoverinfo": "skip",
        }
    )  # fmt: skip
    return go.Figure(
        data=traces,
        layout=_layout(
            {"title": {"text": "Direction of the concept (most exclusive first)"}},
            {"title": {"text": "Exclusivity μ (0 to 1)"}, "range": [0, _top(values)]},
            bargap=0.0 if len(values) > 60 else 0.15,
        ),
    )


def _top(mu: np.ndarray) -> float:
    """Return the end of the axis: 1, or less where nothing would be seen up to 1."""
    greatest = float(mu.max(initial=0.0))
    return 1.02 if greatest > 0.4 else max(1.15 * greatest, 0.01)
