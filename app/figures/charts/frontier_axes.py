"""The axes of forgetting against damage: places, ranges, ticks and layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..words.as_text import untagged
from ..words.settings import setting_in_words
from .palette import BASE, GRID, LOSS

__all__ = ["Extras", "Plot", "axis_ranges", "frontier_layout", "root"]

_STEPS = (1.0, 2.0, 5.0)
_APART = 0.075  # least distance of two ticks, as a share of the axis


@dataclass(frozen=True)
class Extras:
    """What a page draws beside the settings; a file from the command line may have it too.

    Attributes:
        least: bound on what is forgotten, in the unit of the axis; None without.
        most: bound on the damage.
        control: rows of `engram_core.tuning.sweep.sham` at the recommended setting.
        confirmed: damage and lost (shares or nats) of the recommended setting on other concepts.
        confirmed_on: how many those are.
        picked: the setting under the visitor's hand.
        nearest: the setting that comes nearest to a rule that none keeps.
    """

    least: float | None = None
    most: float | None = None
    control: pd.DataFrame | None = None
    confirmed: tuple[float, float] | None = None
    confirmed_on: str = ""
    picked: Mapping[str, Any] | None = None
    nearest: Mapping[str, Any] | None = None


class Plot:
    """Places on the axes, and what every trace has in common."""

    def __init__(self, table: pd.DataFrame, tail: str, scale: float, unit: str) -> None:
        self.tail, self.scale, self.unit = tail, scale, unit
        self.table = table

    def x(self, values: Any) -> np.ndarray:
        """Return where damages lie on the horizontal axis."""
        return root(self.scale * np.asarray(values, float))

    def y(self, values: Any) -> np.ndarray:
        """Return where what is forgotten lies on the vertical axis."""
        return np.asarray(self.scale * np.asarray(values, float))

    def trace(self, rows: pd.DataFrame, name: str, **options: Any) -> dict[str, Any]:
        """Return a trace of some settings, with what all traces have in common."""
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
        """Return a trace of a single point."""
        where = pd.DataFrame({f"damage{self.tail}": [damage], f"lost{self.tail}": [lost]})
        said = f"{name}: forgotten {self.scale * lost:.1f}, damage {self.scale * damage:.1f} {self.unit}"
        return self.trace(where, name, mode="markers", marker=marker) | {
            "hoverinfo": None, "hovertemplate": f"{said}<extra></extra>",
        }  # fmt: skip

    def hover_texts(self, rows: pd.DataFrame) -> list[str]:
        """Return what is said under the mouse about every setting."""
        found = []
        sign = "" if self.unit == "nats" else " %"
        for row in rows.to_dict("records"):
            lines = [f"<b>{untagged(setting_in_words(row))}</b>"]
            for name, gap, side in (("forgotten", "lost", "forget"), ("damage", "damage", "retain")):
                value, now, before = (
                    self.scale * float(row[f"{key}{self.tail}"]) for key in (gap, side, f"base_{side}")
                )
                lines.append(f"{name} {value:.1f} {self.unit} ({before:.1f} → {now:.1f}{sign})")
            found.append("<br>".join(lines))
        return found


def root(values: Any) -> np.ndarray:
    """Return the axes' scale, the square root with the sign of what it is taken of."""
    values = np.asarray(values, float)
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))


def axis_ranges(
    plot: Plot, table: pd.DataFrame, more: Extras
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of both axes, so that everything drawn lies between them."""
    x = [0.0, *plot.x(table[f"damage{plot.tail}"].dropna())]
    y = [0.0, *plot.y(table[f"lost{plot.tail}"].dropna())]
    if more.control is not None and len(more.control):
        x += list(plot.x(more.control[f"damage{plot.tail}"]))
        y += list(plot.y(more.control[f"lost{plot.tail}"]))
    if more.confirmed is not None:
        x.append(float(plot.x(more.confirmed[0])))
        y.append(float(plot.y(more.confirmed[1])))
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


def frontier_layout(
    plot: Plot, table: pd.DataFrame, measure: str, unit: str, title: str, more: Extras
) -> dict[str, Any]:
    """Return the layout: axes with their units, the legend, and the side of the rule that is asked for."""
    said = unit if measure == "score" else measure.replace("_", " ").replace("nll", "NLL")
    how = "nats/token" if plot.unit == "nats" else "points"
    moved = "gained" if plot.unit == "nats" else "lost"
    (left, right), (low, high) = axis_ranges(plot, table, more)
    ticks = _ticks(left, right)
    axis = {"gridcolor": GRID, "zerolinecolor": BASE, "automargin": True, "fixedrange": True}
    layout: dict[str, Any] = {
        "height": 540, "hovermode": "closest", "dragmode": False, "clickmode": "event+select",
        "margin": {"l": 8, "r": 8, "t": 56 if title else 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis | {
            "title": {"text": f"Damage: {said} {moved} by the others<br>({how}, √ scale)"},
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
