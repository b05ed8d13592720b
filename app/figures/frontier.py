"""Forget against retain: every setting of a sweep, the frontier, and the recommended one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from .heatmaps import untagged
from .palette import BASE, EDITED, GRID, LOSS

__all__ = ["frontier_figure"]

_SYMBOLS = (
    "circle",
    "square",
    "triangle-up",
    "x",
    "star",
    "hexagon",
    "cross",
    "pentagon",
    "bowtie",
    "hourglass",
)
_SETTING = ("group", "scaling", "power", "clip", "strength")


def frontier_figure(
    table: pd.DataFrame,
    best: pd.DataFrame,
    *,
    measure: str = "score",
    unit: str = "score",
    chosen: Mapping[str, Any] | None = None,
    title: str = "",
) -> go.Figure:
    """Draw forget (x) against retain (y).

    Args:
        table: from `engram_core.sweep.sweep`.
        best: its frontier.
        measure: ``"score"``, or a detail of the task such as ``"nll"``.
        unit: what a score is.
        chosen: the recommended setting, to be ringed.
        title: of the figure; empty for none.
    """
    tail = "" if measure == "score" else f"_{measure}"
    x, y = f"forget{tail}", f"retain{tail}"
    said = unit if not tail else measure
    traces: list[dict[str, Any]] = []
    for place, (group, rows) in enumerate(table.groupby("group", sort=False)):
        traces.append(_points(rows, x, y, untagged(str(group)), _SYMBOLS[place % len(_SYMBOLS)]))
    line = best.sort_values(x)
    traces.append(
        {
            "type": "scatter", "mode": "lines+markers", "name": "Frontier", "x": line[x].tolist(),
            "y": line[y].tolist(), "line": {"color": EDITED, "width": 2},
            "marker": {"color": EDITED, "size": 6}, "text": _told(line),
            "hovertemplate": _HOVER,
        }
    )  # fmt: skip
    if chosen is not None:
        same = table[[table_row(row) == table_row(chosen) for row in table.to_dict("records")]]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": "Recommended", "x": same[x].tolist(),
                "y": same[y].tolist(), "text": _told(same), "hovertemplate": _HOVER,
                "marker": {"color": "rgba(0,0,0,0)", "size": 18, "line": {"color": LOSS, "width": 3}},
            }
        )  # fmt: skip
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "automargin": True}
    layout: dict[str, Any] = {
        "height": 520, "hovermode": "closest", "margin": {"l": 8, "r": 8, "t": 56 if title else 24, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis | {"title": {"text": f"Erased concepts: {said} (lower: more is forgotten)"}},
        "yaxis": axis | {"title": {"text": f"Other concepts: {said} (higher: more is kept)"}},
        "legend": {"title": {"text": "Layers edited"}},
    }  # fmt: skip
    if "nll" in measure:  # a loss: forgetting is to the right there, and damage upwards
        layout["xaxis"]["title"] = {
            "text": f"Erased concepts: {said}, nats per token (higher: more is forgotten)"
        }
        layout["yaxis"]["title"] = {"text": f"Other concepts: {said}, nats per token (lower: more is kept)"}
    if title:
        layout["title"] = {"text": untagged(title)}
    return go.Figure(data=traces, layout=layout)


_HOVER = "%{text}<br>erased %{x:.3f}, others %{y:.3f}<extra></extra>"


def _points(rows: pd.DataFrame, x: str, y: str, name: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": rows[x].tolist(), "y": rows[y].tolist(),
        "text": _told(rows), "hovertemplate": _HOVER,
        "marker": {"color": BASE, "size": 8, "symbol": symbol, "opacity": 0.75},
    }  # fmt: skip


def table_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the setting of a row as something that can be compared."""
    group, scaling, power, clip, strength = (row[name] for name in _SETTING)
    return str(group), str(scaling), float(power), bool(clip), float(strength)


def _told(rows: pd.DataFrame) -> list[str]:
    return [
        f"{untagged(str(r['group']))}, {r['scaling']}, μ^{r['power']:g}{' clipped' if r['clip'] else ''}, "
        f"α = {r['strength']:g}"
        for r in rows.to_dict("records")
    ]
