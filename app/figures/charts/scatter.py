"""Maps: points in two or three dimensions, by category or by value, with arrows for what moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .labels import label
from .palette import BASE, GRID, SELECTED, SIZES

__all__ = ["Cloud", "axes_of", "marks_of", "scatter"]

# Okabe–Ito without black, which dark pages swallow, and its yellow darker for white ones; a symbol per round
# of colours keeps 24 concepts apart.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800")
_SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "star")
_SYMBOLS_3D = ("circle", "diamond", "square", "cross", "circle-open", "x")
_HEIGHT = 560
_ARROW = "rgba(120,120,120,0.75)"


@dataclass(frozen=True)
class Cloud:
    """What a map shows.

    Attributes:
        points: (points, 2 or 3), where they are drawn.
        hover: one text per point, HTML escaped.
        categories: the category of each point, or None to colour by `values`.
        order: all categories, in the order of the legend.
        values: a number per point, or None.
        value_name: what the number is, with its unit.
        start: (points, dimensions), where the arrows begin, or None.
        end: where they end.
        arrows: the points that have an arrow.
        axes: the axes' names.
        names: a short text at each point, or (); "" for none there.
        marks: colour and symbol of each category; default those of `marks_of`.
        centres: categories by name whose points have their name in their middle: numbers of the points.
        ringed: points of the selected concept.
    """

    points: np.ndarray
    hover: Sequence[str]
    categories: Sequence[str] | None
    order: Sequence[str]
    values: np.ndarray | None
    value_name: str
    start: np.ndarray | None
    end: np.ndarray | None
    arrows: np.ndarray
    axes: Sequence[str]
    names: Sequence[str] = ()
    marks: Mapping[str, tuple[str, str]] | None = None
    centres: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ringed: Sequence[int] = ()


def axes_of(method: str, explained: Sequence[float], dimensions: int) -> list[str]:
    """Return the names of the axes, with what each shows."""
    if method == "pca" and dimensions == 3:  # a longer name would be cut off at the edge
        return [f"PC {i + 1} ({share:.0%})" for i, share in enumerate(explained)]
    if method == "pca":
        return [f"Component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(explained)]
    return [f"UMAP {i + 1} (no unit)" for i in range(dimensions)]


def scatter(cloud: Cloud) -> go.Figure:
    """Draw a map; the axes span base and edited points, so that a toggle moves points and not the map."""
    deep = cloud.points.shape[1] == 3
    traces = _lines(cloud) if deep else []
    traces += _categories(cloud, deep) if cloud.categories is not None else [_valued(cloud, deep)]
    traces += _rings(cloud, deep) + _centres(cloud, deep)
    axes = {
        f"{axis}axis": {
            "title": {"text": name}, "range": limits, "gridcolor": GRID, "zeroline": False,
            **({} if deep else {"showticklabels": True}),
        }
        for axis, name, limits in zip("xyz", cloud.axes, _limits(cloud), strict=False)
    }  # fmt: skip
    layout: dict[str, Any] = {
        "height": _HEIGHT, "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        # Streamlit (1.67) lets a click pick nothing while a lasso or box is in hand: neither is at first.
        "dragmode": "orbit" if deep else False,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"itemsizing": "constant", "tracegroupgap": 0, "font": {"size": 12}},
        "uirevision": "map",
    }  # fmt: skip
    if deep:
        layout["scene"] = axes | {
            "bgcolor": "rgba(0,0,0,0)",
            "aspectmode": "cube",
            "camera": {"eye": {"x": 1.5, "y": 1.5, "z": 1.1}},
        }
    else:
        layout |= axes
        layout["annotations"] = _annotations(cloud)
        layout["clickmode"] = "event+select"
    return go.Figure(data=traces, layout=layout)


def _limits(cloud: Cloud) -> list[list[float]]:
    parts = [cloud.points, *(part for part in (cloud.start, cloud.end) if part is not None)]
    every = np.concatenate(parts)
    low, high = every.min(0), every.max(0)
    room = np.where(high > low, 0.06 * (high - low), 1.0)
    return [[float(a), float(b)] for a, b in zip(low - room, high + room, strict=True)]


def marks_of(order: Sequence[str], *, deep: bool = False) -> dict[str, tuple[str, str]]:
    """Return a colour and a symbol for each category, such that no two have the same.

    Where there are more than can be told apart, all are grey: their names, not their colours, say what is
    what.

    Args:
        order: the categories.
        deep: whether the map has three dimensions, for which Plotly has fewer symbols.
    """
    symbols = _SYMBOLS_3D if deep else _SYMBOLS
    if len(order) > len(_COLOURS) * len(symbols):
        return dict.fromkeys(order, (BASE, "circle"))
    return {
        name: (_COLOURS[place % len(_COLOURS)], symbols[place // len(_COLOURS)])
        for place, name in enumerate(order)
    }


def _places(points: np.ndarray) -> dict[str, list[float]]:
    return {axis: points[:, i].tolist() for i, axis in enumerate("xyz"[: points.shape[1]])}


def _trace(cloud: Cloud, at: np.ndarray, deep: bool, marker: dict[str, Any]) -> dict[str, Any]:
    named = any(cloud.names)
    return _places(cloud.points[at]) | {
        "type": "scatter3d" if deep else "scatter",
        "mode": "markers+text" if named else "markers",
        **({"text": [cloud.names[i] for i in at], "textposition": "top center"} if named else {}),
        "customdata": [[int(i)] for i in at],
        "hovertext": [cloud.hover[i] for i in at],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"size": 4 if deep else 9, "opacity": 0.85, **marker},
    }


def _categories(cloud: Cloud, deep: bool) -> list[dict[str, Any]]:
    assert cloud.categories is not None
    found, traces = np.array(cloud.categories, object), []
    marks = marks_of(cloud.order, deep=deep) if cloud.marks is None else cloud.marks
    for name in cloud.order:
        at = np.flatnonzero(found == name)
        if not len(at):
            continue
        colour, symbol = marks[name]
        trace = _trace(cloud, at, deep, {"color": colour, "symbol": symbol})
        traces.append(trace | {"name": label(name) or "no answer"})
    return traces


def _rings(cloud: Cloud, deep: bool) -> list[dict[str, Any]]:
    """Return a ring around every point of the selected concept."""
    if not len(cloud.ringed):
        return []
    marker = {"symbol": "circle-open", "color": SELECTED, "size": 9 if deep else 16, "line": {"width": 2}}
    return [
        _places(cloud.points[list(cloud.ringed)]) | {
            "type": "scatter3d" if deep else "scatter", "mode": "markers", "marker": marker,
            "hoverinfo": "skip", "name": "selected",
        }
    ]  # fmt: skip


def _centres(cloud: Cloud, deep: bool) -> list[dict[str, Any]]:
    """Return the names of categories in the middle of their points, which a few strays do not move."""
    if not cloud.centres:
        return []
    middle = np.array([np.median(cloud.points[list(at)], axis=0) for at in cloud.centres.values()])
    return [
        _places(middle) | {
            "type": "scatter3d" if deep else "scatter", "mode": "text", "hoverinfo": "skip",
            "text": [f"<b>{label(name)}</b>" for name in cloud.centres], "showlegend": False,
            # A halo in the page's colour, so that letters on points can be read.
            "textfont": {"size": 13} if deep else {"size": 13, "shadow": "auto"},
        }
    ]  # fmt: skip


def _valued(cloud: Cloud, deep: bool) -> dict[str, Any]:
    assert cloud.values is not None
    marker = {
        "color": [float(v) if np.isfinite(v) else None for v in cloud.values],
        "colorscale": SIZES,
        "colorbar": {"title": {"text": cloud.value_name, "side": "right"}, "thickness": 14},
        "line": {"color": BASE, "width": 0.5},
    }
    return _trace(cloud, np.arange(len(cloud.points)), deep, marker) | {"showlegend": False}


def _annotations(cloud: Cloud) -> list[dict[str, Any]]:
    if cloud.start is None or cloud.end is None:
        return []
    return [
        {
            "x": float(cloud.end[i, 0]), "y": float(cloud.end[i, 1]), "ax": float(cloud.start[i, 0]),
            "ay": float(cloud.start[i, 1]), "xref": "x", "yref": "y", "axref": "x", "ayref": "y", "text": "",
            "showarrow": True, "arrowhead": 2, "arrowsize": 1, "arrowwidth": 1.3, "arrowcolor": _ARROW,
        }
        for i in cloud.arrows
    ]  # fmt: skip


def _lines(cloud: Cloud) -> list[dict[str, Any]]:
    if cloud.start is None or cloud.end is None or not len(cloud.arrows):
        return []
    places: dict[str, list[float | None]] = {axis: [] for axis in "xyz"}
    for i in cloud.arrows:
        for number, axis in enumerate("xyz"):
            places[axis] += [float(cloud.start[i, number]), float(cloud.end[i, number]), None]
    return [
        places | {
            "type": "scatter3d", "mode": "lines", "line": {"color": _ARROW, "width": 2}, "hoverinfo": "skip",
            "name": "from base to edited", "showlegend": True,
        }
    ]  # fmt: skip
