"""The selected concept, marked in whatever figure has a row or a column of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from ..words.as_text import untagged
from .palette import SELECTED

__all__ = ["highlighted", "named"]

_WIDTH = 2.5  # pixels of the outline


def named(rows: Sequence[str] = (), columns: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a figure keeps of its names, for `highlighted`: as its `layout.meta`.

    Args:
        rows: names at 0, 1, … of the vertical axis.
        columns: names at 0, 1, … of the horizontal axis.
    """
    return {"rows": [untagged(name) for name in rows], "columns": [untagged(name) for name in columns]}


def highlighted(chart: go.Figure, name: str) -> go.Figure:
    """Return a figure in which the rows and columns of a name are outlined; the figure itself stays as it is.

    Args:
        chart: a figure that says by `named` what its rows and columns are; any other is returned as it is.
        name: the concept; "" for none.
    """
    meta = chart.layout.meta
    if not name or not isinstance(meta, dict):
        return chart
    bands = [
        _band(axis, place)
        for key, axis in (("rows", "y"), ("columns", "x"))
        for place, found in enumerate(meta.get(key) or ())
        if found == untagged(name)
    ]
    if not bands:
        return chart
    marked = go.Figure(chart)
    marked.update_layout(shapes=[*chart.layout.shapes, *bands])
    return marked


def _band(axis: str, place: int) -> dict[str, Any]:
    """Return the outline of a row ("y") or column ("x"), from one end of the figure to the other."""
    other = "x" if axis == "y" else "y"
    return {
        "type": "rect", f"{axis}0": place - 0.5, f"{axis}1": place + 0.5, f"{axis}ref": axis,
        f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper", "layer": "above",
        "line": {"color": SELECTED, "width": _WIDTH},
    }  # fmt: skip
