"""Forgetting against damage: every setting of a sweep, the frontier, the rule, and the recommended one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..words.as_text import untagged
from .frontier_axes import Extras, Plot, axis_ranges, frontier_layout, root
from .palette import BASE, CONTROL, EDITED, LOSS
from .settings import series_of, table_row

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
_MOST_SERIES = 12  # more lines than that hide the points
_MOST_LABELS = 9  # strengths written beside the points of the frontier


def frontier_figure(
    table: pd.DataFrame,
    best: pd.DataFrame,
    *,
    measure: str = "score",
    unit: str = "score",
    chosen: Mapping[str, Any] | None = None,
    title: str = "",
    extras: Extras | None = None,
) -> go.Figure:
    """Draw what is forgotten (y) against the damage (x, on a square-root scale, which opens its small end).

    Args:
        table: from `engram_core.tuning.sweep.sweep`.
        best: its frontier.
        measure: ``"score"``, or a detail of the task such as ``"nll"``.
        unit: what a score is.
        chosen: the recommended setting, to be ringed.
        title: of the figure; empty for none.
        extras: what else is drawn.

    Returns:
        The figure.
    """
    more = extras or Extras()
    tail = "" if measure == "score" else f"_{measure}"
    plot = Plot(table, tail, 1.0 if "nll" in measure else 100.0, "nats" if "nll" in measure else "points")
    shown = table.dropna(subset=[f"lost{tail}", f"damage{tail}"])
    line = best.sort_values(f"damage{tail}")
    traces = [
        *_bounds(plot, more),
        *_settings(plot, shown),
        plot.trace(
            line, "Frontier", mode="lines+markers+text", line={"color": EDITED, "width": 2},
            marker={"color": EDITED, "size": 8}, textposition="bottom right",
            text=[f" {s:g}" for s in line["strength"]] if len(line) <= _MOST_LABELS else None,
            textfont={"color": EDITED, "size": 12}, cliponaxis=False,
        ),
        plot.at(0.0, 0.0, "Base", {"color": BASE, "size": 13, "symbol": "hexagram"}),
    ]  # fmt: skip
    traces += _marks(plot, shown, chosen, more)
    # On top of all, unseen: a point may lie under the frontier, and a click must find its setting.
    traces.append(
        plot.trace(
            shown, "settings", mode="markers", marker={"size": 16, "opacity": 0, "color": EDITED},
            customdata=[[int(place)] for place in shown.index], hovertext=plot.hover_texts(shown),
            hovertemplate="%{hovertext}<extra></extra>", hoverinfo=None, showlegend=False,
        )
    )  # fmt: skip
    return go.Figure(data=traces, layout=frontier_layout(plot, shown, measure, unit, title, more))


def _settings(plot: Plot, table: pd.DataFrame) -> list[dict[str, Any]]:
    series = series_of(table)
    groups = list(dict.fromkeys(table["group"])) if len(table) else []
    if len(series) <= _MOST_SERIES:
        return [
            plot.trace(
                rows, untagged(name), mode="lines+markers", line={"color": BASE, "width": 1, "dash": "dot"},
                marker={"color": BASE, "size": 9, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
            )
            for place, (name, rows) in enumerate(series)
        ]  # fmt: skip
    return [
        plot.trace(
            table[table["group"] == group], untagged(str(group)), mode="markers",
            marker={"color": BASE, "size": 8, "symbol": _SYMBOLS[place % len(_SYMBOLS)], "opacity": 0.75},
        )
        for place, group in enumerate(groups)
    ]  # fmt: skip


def _marks(
    plot: Plot, table: pd.DataFrame, chosen: Mapping[str, Any] | None, more: Extras
) -> list[dict[str, Any]]:
    tail, traces = plot.tail, []
    if more.control is not None and len(more.control):
        traces.append(_diamond(plot, more.control))
    for setting, name, colour, size in (
        (more.picked, "Selected", EDITED, 26),
        (more.nearest, "Nearest to the rule", LOSS, 19),
        (chosen, "Recommended", LOSS, 19),
    ):
        if setting is None:
            continue
        same = table[[table_row(row) == table_row(setting) for row in table.to_dict("records")]]
        ring = {"color": "rgba(0,0,0,0)", "size": size, "line": {"color": colour, "width": 3}}
        if name.startswith("Nearest"):
            ring = {"color": colour, "size": size, "symbol": "circle-open-dot"}
        traces.append(plot.trace(same, name, mode="markers", marker=ring))
        if name == "Recommended" and more.confirmed is not None and len(same):
            traces += _confirmed(plot, same.iloc[0][f"damage{tail}"], same.iloc[0][f"lost{tail}"], more)
    return traces


def _confirmed(plot: Plot, damage: float, lost: float, more: Extras) -> list[dict[str, Any]]:
    assert more.confirmed is not None
    there = plot.at(
        more.confirmed[0], more.confirmed[1], f"The same on {more.confirmed_on}",
        {"color": LOSS, "size": 13, "symbol": "square"},
    )  # fmt: skip
    ends = pd.DataFrame(
        {f"damage{plot.tail}": [damage, more.confirmed[0]], f"lost{plot.tail}": [lost, more.confirmed[1]]}
    )
    way = plot.trace(
        ends, "way", mode="lines", line={"color": LOSS, "width": 1.5, "dash": "dot"}, showlegend=False
    )
    return [way, there]


def _diamond(plot: Plot, control: pd.DataFrame) -> dict[str, Any]:
    lost, damage = (control[f"{name}{plot.tail}"].to_numpy(float) for name in ("lost", "damage"))
    name = f"Control: random change as large ({len(control)} seeds)"
    marker = {"symbol": "diamond", "size": 13, "color": CONTROL, "line": {"width": 1, "color": "white"}}
    trace = plot.at(float(damage.mean()), float(lost.mean()), name, marker)
    for axis, values, place in (("x", damage, plot.x), ("y", lost, plot.y)):
        low, mean, high = place([values.min(), values.mean(), values.max()])
        trace[f"error_{axis}"] = {
            "type": "data", "symmetric": False, "array": [float(high - mean)],
            "arrayminus": [float(mean - low)], "color": CONTROL, "thickness": 1.5, "width": 3,
        }  # fmt: skip
    return trace


def _bounds(plot: Plot, more: Extras) -> list[dict[str, Any]]:
    """Return the rule's bound as a line, so that the legend names it."""
    known = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    line = {"color": LOSS, "width": 2, "dash": "dash"}
    (left, right), (low, high) = axis_ranges(plot, plot.table, more)
    found = []
    if more.least is not None:
        name = f"Rule: forget at least {more.least:g} {plot.unit}"
        found.append(known | {"name": name, "x": [left, right], "y": [more.least] * 2, "line": line})
    if more.most is not None:
        name = f"Rule: damage at most {more.most:g} {plot.unit}"
        at = float(root(more.most))
        found.append(known | {"name": name, "x": [at, at], "y": [low, high], "line": line})
    return found
