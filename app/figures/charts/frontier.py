"""Forgetting against damage: every setting of a sweep, the frontier, the rule, and the recommended one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..words.as_text import untagged
from .palette import BASE, CONTROL, EDITED, GRID, LOSS

__all__ = ["Extras", "clicked_row", "frontier_figure", "series_of", "table_row"]

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
_SERIES = ("group", "scaling", "power", "clip")
_MOST_SERIES = 12  # more lines than that hide the points
_MOST_LABELS = 9  # strengths written beside the points of the frontier
_STEPS = (1.0, 2.0, 5.0)
_APART = 0.075  # least distance of two ticks, as a share of the axis


@dataclass(frozen=True)
class Extras:
    """What a page draws beside the settings; a file from the command line may have it too.

    Attributes:
        least: bound on what is forgotten, in the unit of the axis; None without.
        most: bound on the damage.
        control: rows of `engram_core.tuning.sweep.sham` at the recommended setting.
        held: damage and lost (shares or nats) of the recommended setting on other concepts.
        held_on: how many those are.
        picked: the setting under the visitor's hand.
        nearest: the setting that comes nearest to a rule that none keeps.
    """

    least: float | None = None
    most: float | None = None
    control: pd.DataFrame | None = None
    held: tuple[float, float] | None = None
    held_on: str = ""
    picked: Mapping[str, Any] | None = None
    nearest: Mapping[str, Any] | None = None


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
    """
    more = extras or Extras()
    tail = "" if measure == "score" else f"_{measure}"
    plot = _Plot(table, tail, 1.0 if "nll" in measure else 100.0, "nats" if "nll" in measure else "points")
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
            customdata=[[int(place)] for place in shown.index], hovertext=plot.told(shown),
            hovertemplate="%{hovertext}<extra></extra>", hoverinfo=None, showlegend=False,
        )
    )  # fmt: skip
    return go.Figure(data=traces, layout=_layout(plot, shown, measure, unit, title, more))


class _Plot:
    """Places on the axes, and what every trace has in common."""

    def __init__(self, table: pd.DataFrame, tail: str, scale: float, unit: str) -> None:
        self.tail, self.scale, self.unit = tail, scale, unit
        self.table = table

    def x(self, values: Any) -> np.ndarray:
        return root(self.scale * np.asarray(values, float))

    def y(self, values: Any) -> np.ndarray:
        return np.asarray(self.scale * np.asarray(values, float))

    def trace(self, rows: pd.DataFrame, name: str, **options: Any) -> dict[str, Any]:
        same: dict[str, Any] = {
            "type": "scatter", "name": name, "x": self.x(rows[f"damage{self.tail}"]).tolist(),
            "y": self.y(rows[f"lost{self.tail}"]).tolist(), "hoverinfo": "skip",
        }  # fmt: skip
        marker = dict(options.pop("marker", {}))
        # A click fades what was not clicked, and the frontier must not fade.
        same["unselected"] = {"marker": {"opacity": marker.get("opacity", 1.0)}}
        if options.get("text") is None:
            options.pop("text", None)
            options["mode"] = options["mode"].replace("+text", "")
            options.pop("textposition", None)
            options.pop("textfont", None)
        else:
            same["unselected"]["textfont"] = {"color": options["textfont"]["color"]}
        return same | {"marker": marker} | options

    def at(self, damage: float, lost: float, name: str, marker: dict[str, Any]) -> dict[str, Any]:
        where = pd.DataFrame({f"damage{self.tail}": [damage], f"lost{self.tail}": [lost]})
        told = f"{name}: forgotten {self.scale * lost:.1f}, damage {self.scale * damage:.1f} {self.unit}"
        return self.trace(where, name, mode="markers", marker=marker) | {
            "hoverinfo": None, "hovertemplate": f"{told}<extra></extra>",
        }  # fmt: skip

    def told(self, rows: pd.DataFrame) -> list[str]:
        """Return what the mouse is told about every setting."""
        found = []
        sign = "" if self.unit == "nats" else " %"
        for row in rows.to_dict("records"):
            lines = [f"<b>{untagged(_words(row))}</b>"]
            for name, gap, side in (("forgotten", "lost", "forget"), ("damage", "damage", "retain")):
                value, now, before = (
                    self.scale * float(row[f"{key}{self.tail}"]) for key in (gap, side, f"base_{side}")
                )
                lines.append(f"{name} {value:.1f} {self.unit} ({before:.1f} → {now:.1f}{sign})")
            found.append("<br>".join(lines))
        return found


def root(values: Any) -> np.ndarray:
    """Return the square root with the sign of what it is taken of."""
    values = np.asarray(values, float)
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))


def _words(row: Mapping[str, Any]) -> str:
    return (
        f"strength {row['strength']:g}, {row['scaling']} scaling, sharpness {row['power']:g}"
        f"{' clipped' if row['clip'] else ''}, layers {row['group']}"
    )


def series_of(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the settings that differ in strength alone, each with a name that says what sets it apart."""
    varies = {name: table[name].nunique() > 1 for name in _SERIES}
    found = []
    for (group, scaling, power, clip), rows in table.groupby(list(_SERIES), sort=False):
        parts = [
            f"{group}" if varies["group"] else "",
            f"{scaling}" if varies["scaling"] else "",
            f"sharpness {power:g}{' clipped' if clip else ''}" if varies["power"] or varies["clip"] else "",
        ]
        found.append((", ".join(filter(None, parts)) or "Settings", rows.sort_values("strength")))
    return found


def _settings(plot: _Plot, table: pd.DataFrame) -> list[dict[str, Any]]:
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
    plot: _Plot, table: pd.DataFrame, chosen: Mapping[str, Any] | None, more: Extras
) -> list[dict[str, Any]]:
    tail, traces = plot.tail, []
    if more.control is not None and len(more.control):
        traces.append(_diamond(plot, more.control))
    for setting, name, colour, size in (
        (more.picked, "Picked", EDITED, 26),
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
        if name == "Recommended" and more.held is not None and len(same):
            traces += _held(plot, same.iloc[0][f"damage{tail}"], same.iloc[0][f"lost{tail}"], more)
    return traces


def _held(plot: _Plot, damage: float, lost: float, more: Extras) -> list[dict[str, Any]]:
    assert more.held is not None
    there = plot.at(
        more.held[0], more.held[1], f"The same on {more.held_on}",
        {"color": LOSS, "size": 13, "symbol": "square"},
    )  # fmt: skip
    ends = pd.DataFrame(
        {f"damage{plot.tail}": [damage, more.held[0]], f"lost{plot.tail}": [lost, more.held[1]]}
    )
    way = plot.trace(
        ends, "way", mode="lines", line={"color": LOSS, "width": 1.5, "dash": "dot"}, showlegend=False
    )
    return [way, there]


def _diamond(plot: _Plot, control: pd.DataFrame) -> dict[str, Any]:
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


def _bounds(plot: _Plot, more: Extras) -> list[dict[str, Any]]:
    """Return the rule's bound as a line, so that the legend names it."""
    known = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    line = {"color": LOSS, "width": 2, "dash": "dash"}
    (left, right), (low, high) = _ranges(plot, plot.table, more)
    found = []
    if more.least is not None:
        name = f"Rule: forget at least {more.least:g} {plot.unit}"
        found.append(known | {"name": name, "x": [left, right], "y": [more.least] * 2, "line": line})
    if more.most is not None:
        name = f"Rule: damage at most {more.most:g} {plot.unit}"
        at = float(root(more.most))
        found.append(known | {"name": name, "x": [at, at], "y": [low, high], "line": line})
    return found


def _ranges(
    plot: _Plot, table: pd.DataFrame, more: Extras
) -> tuple[tuple[float, float], tuple[float, float]]:
    x = [0.0, *plot.x(table[f"damage{plot.tail}"].dropna())]
    y = [0.0, *plot.y(table[f"lost{plot.tail}"].dropna())]
    if more.control is not None and len(more.control):
        x += list(plot.x(more.control[f"damage{plot.tail}"]))
        y += list(plot.y(more.control[f"lost{plot.tail}"]))
    if more.held is not None:
        x.append(float(plot.x(more.held[0])))
        y.append(float(plot.y(more.held[1])))
    if more.least is not None:
        y.append(more.least)
    if more.most is not None:
        x.append(float(root(more.most)))
    ends = []
    for values, least in ((x, 1.0 if plot.scale > 1 else 0.3), (y, 10.0 if plot.scale > 1 else 1.0)):
        low, high = min(values), max(max(values), least)
        room = 0.06 * (high - low)
        ends.append((low - room, high + room))
    return ends[0], ends[1]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a square-root axis, from nothing outwards, none too near to the last."""
    least = _APART * (high - low)
    found = [0.0]
    for sign, end in ((1.0, high), (-1.0, -low)):
        last = 0.0
        for number in (step * 10.0**power for power in range(-3, 4) for step in _STEPS):
            if float(root(number)) - last >= least and float(root(number)) <= end:
                last = float(root(number))
                found.append(sign * number)
    return sorted(found)


def _layout(
    plot: _Plot, table: pd.DataFrame, measure: str, unit: str, title: str, more: Extras
) -> dict[str, Any]:
    said = unit if measure == "score" else measure.replace("_", " ").replace("nll", "NLL")
    how = "nats/token" if plot.unit == "nats" else "points"
    moved = "gained" if plot.unit == "nats" else "lost"
    (left, right), (low, high) = _ranges(plot, table, more)
    ticks = _ticks(left, right)
    axis = {"gridcolor": GRID, "zerolinecolor": BASE, "automargin": True, "fixedrange": True}
    layout: dict[str, Any] = {
        "height": 540, "hovermode": "closest", "dragmode": False, "clickmode": "event+select",
        "margin": {"l": 8, "r": 8, "t": 56 if title else 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis | {
            "title": {"text": f"Damage: {said} {moved} by the others ({how}, √ scale)"},
            "range": [left, right], "tickvals": root(ticks).tolist(),
            "ticktext": [f"{tick:g}".replace("-", "−") for tick in ticks],
        },
        "yaxis": axis | {
            "title": {"text": f"Forgotten: {said} {moved} by the erased ({how})"}, "range": [low, high],
        },
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }  # fmt: skip
    shape = {"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": LOSS, "opacity": 0.07}
    if more.least is not None:
        layout["shapes"] = [shape | {"x0": left, "x1": right, "y0": more.least, "y1": high}]
    if more.most is not None:
        layout["shapes"] = [shape | {"x0": left, "x1": float(root(more.most)), "y0": low, "y1": high}]
    if title:
        layout["title"] = {"text": untagged(title)}
    return layout


def table_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the setting of a row as something that can be compared."""
    group, scaling, power, clip, strength = (row[name] for name in _SETTING)
    return str(group), str(scaling), float(power), bool(clip), float(strength)


def clicked_row(points: Sequence[int], table: pd.DataFrame) -> dict[str, Any] | None:
    """Return the setting that was clicked, as a row of the table; None without one."""
    known = [point for point in points if point in table.index]
    return {str(k): v for k, v in table.loc[known[0]].to_dict().items()} if known else None
