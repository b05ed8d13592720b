"""Heatmaps that can be clicked: who is probed against whose engram is used, or layer against concept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..words.as_text import untagged
from .palette import LOSS, SIGNED, SIZES

__all__ = ["Scale", "bar_title", "cell_of", "grid", "heatmap", "label", "labels"]

_ROW = 30  # pixels per row while there are few
_TALLEST = 900  # pixels of all rows together, except that no row is less than two
_NUMBERS = 14  # columns up to which each cell has its number in it
_LONGEST = 24  # letters of a label; the whole name is in the hover text
_OUTLINE = "rgba(128,128,128,0.9)"
_LETTER = 7.5  # pixels of one letter of a colour bar's title, in presenter mode as well
_DECADES = 3  # powers of ten that logarithmic colours tell apart; a few empty layers must not take them all


@dataclass(frozen=True)
class Scale:
    """What the colours mean.

    Attributes:
        title: the quantity, with its unit.
        low: value of the darkest colour; None for the least one.
        high: value of the lightest colour; None for the greatest one.
        log: colour by the logarithm; what lies more than three powers of ten below the greatest is as dark.
        signed: one hue below zero and another above; `high` counts on both sides, `low` does not.
        number: how a value is written (a format of Python).
    """

    title: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    signed: bool = False
    number: str = ".2f"


def label(name: str) -> str:
    """Return a name that is short enough for an axis and holds no HTML."""
    short = name
    while len(short) > _LONGEST and "." in short and " " not in short:
        short = short.partition(".")[2]  # of a layer's path the end says more
    short = short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"
    return untagged(short)


def labels(names: Sequence[str]) -> list[str]:
    """Return short names; the start that all paths of layers share is left out."""
    if len(names) > 1 and not any(" " in name for name in names):
        parts = [name.split(".") for name in names]
        shared = 0
        while all(len(part) > shared + 1 and part[shared] == parts[0][shared] for part in parts):
            shared += 1
        names = [".".join(part[shared:]) for part in parts]
    return [label(name) for name in names]


def grid(
    table: pd.DataFrame, value: str, rows: Sequence[str], columns: Sequence[str], *, row: str = "probe"
) -> np.ndarray:
    """Return a tidy column as a matrix, rows × concepts; NaN where the table has nothing."""
    wide = table.pivot(index=row, columns="concept", values=value)
    return wide.reindex(index=list(rows), columns=list(columns)).to_numpy(float)


def heatmap(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row: str,
    column: str,
    scale: Scale,
    before: tuple[str, np.ndarray] | None = None,
    hover: Sequence[Sequence[str]] | None = None,
    selected: tuple[str, str] | None = None,
    diagonal: bool = True,
) -> go.Figure:
    """Draw a matrix with a mark in every cell that can be clicked.

    Args:
        values: shape (rows, columns); NaN where nothing is known yet.
        rows: names, from top to bottom.
        columns: names, from left to right.
        row: what a row is.
        column: what a column is.
        scale: what the colours mean.
        before: title and values, one per row, of a column that stands apart on the left.
        hover: more to say about each cell, shape (rows, columns).
        selected: row and column of the cell that is open below.
        diagonal: outline the cells whose row and column have one name.
    """
    values = np.asarray(values, float)
    low, high = _bounds(values, scale)
    height = min(_ROW, max(2.0, _TALLEST / max(len(rows), 1)))
    small = len(columns) <= _NUMBERS and height >= 20
    shared: dict[str, Any] = {
        "type": "heatmap", "colorscale": SIGNED if scale.signed else SIZES, "zmin": low, "zmax": high,
        "xgap": 1 if height > 4 else 0, "ygap": 1 if height > 4 else 0, "hoverinfo": "skip",
    }  # fmt: skip
    texts = _texts(values, scale)
    traces: list[dict[str, Any]] = [
        shared | {
            "z": _coloured(values, scale), "x0": 0, "dx": 1, "y0": 0, "dy": 1,
            "colorbar": _bar(scale, low, high, height * len(rows), cut=_below(values, scale, low)),
            **({"text": texts, "texttemplate": "%{text}"} if small else {}),
        }
    ]  # fmt: skip
    if before is not None:
        first = np.asarray(before[1], float)[:, None]
        traces.append(
            shared | {
                "z": _coloured(first, scale), "x0": -1.4, "dx": 1, "y0": 0, "dy": 1, "showscale": False,
                **({"text": _texts(first, scale), "texttemplate": "%{text}"} if small else {}),
            }
        )  # fmt: skip
    traces.append(_marks(values, rows, columns, row, column, scale, hover, texts))
    if before is not None:
        traces.append(_before_marks(rows, row, before, scale))
    return go.Figure(
        data=traces,
        layout=_layout(
            rows, columns, row, column, height, before, _shapes(rows, columns, selected, diagonal)
        ),
    )


def cell_of(event: Any) -> tuple[str, str] | None:
    """Return row and column of the clicked cell, from what `st.plotly_chart` keeps; None without one."""
    selection = (event or {}).get("selection") or {}
    for point in selection.get("points") or ():
        data = point.get("customdata")
        if isinstance(data, dict):  # Streamlit hands arrays over as objects with numbers as keys
            data = [data[key] for key in sorted(data, key=int)]
        if isinstance(data, list | tuple) and len(data) >= 2:
            return str(data[0]), str(data[1])
    return None


def _bounds(values: np.ndarray, scale: Scale) -> tuple[float, float]:
    shown = _coloured(values, scale)
    known = [v for line in shown for v in line if v is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if scale.signed:
        reach = max(-low, high, 1e-9) if scale.high is None else scale.high
        return -reach, reach
    if scale.log:
        low = max(low, high - _DECADES)
    if scale.low is not None:
        low = float(np.log10(scale.low)) if scale.log else scale.low
    if scale.high is not None:
        high = float(np.log10(scale.high)) if scale.log else scale.high
    return low, high if high > low else low + 1e-9


def _below(values: np.ndarray, scale: Scale, low: float) -> bool:
    return any(v is not None and v < low for line in _coloured(values, scale) for v in line)


def _coloured(values: np.ndarray, scale: Scale) -> list[list[float | None]]:
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.log10(values) if scale.log else values
    return [[float(v) if np.isfinite(v) else None for v in line] for line in shown]


def _texts(values: np.ndarray, scale: Scale) -> list[list[str]]:
    return [[_number(v, scale.number) if np.isfinite(v) else "" for v in line] for line in values]


def _number(value: float, how: str) -> str:
    text = format(value, how).rstrip(".")
    # What rounds to nothing has no sign.
    return (text.lstrip("-") if not float(text) else text).replace("-", "−")


def bar_title(title: str, pixels: float) -> dict[str, Any]:
    """Return the title beside a colour bar, in as many lines as its height asks for.

    Args:
        title: the quantity, with its unit.
        pixels: height of the bar.
    """
    lines = wrap(title, max(12, int(pixels / _LETTER)), break_long_words=False, break_on_hyphens=False)
    return {"text": "<br>".join(lines), "side": "right"}


def _bar(scale: Scale, low: float, high: float, pixels: float, *, cut: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": bar_title(scale.title, pixels), "thickness": 12, "outlinewidth": 0, "len": 1.0,
    }  # fmt: skip
    if scale.log:
        ticks = [t for t in range(int(np.floor(low)), int(np.ceil(high)) + 1) if low <= t <= high]
        # Within one power of ten there would be no tick at all.
        marks = ticks if len(ticks) > 1 else np.linspace(low, high, 4).tolist()
        if cut:
            marks = [low, *(mark for mark in marks if mark > low + 0.3)]
        said = [f"{'≤ ' if cut and mark == low else ''}{10.0**mark:.2g}" for mark in marks]
        found |= {"tickvals": marks, "ticktext": said}
    return found


def _marks(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], row: str, column: str, scale: Scale,
    hover: Sequence[Sequence[str]] | None, texts: list[list[str]],
) -> dict[str, Any]:  # fmt: skip
    """Return invisible squares over the cells: Plotly reports no click on a heatmap itself."""
    places = [(i, j) for i in range(len(rows)) for j in range(len(columns)) if np.isfinite(values[i, j])]
    said = [
        f"{row}: {label(rows[i])}<br>{column}: {label(columns[j])}<br>{scale.title}: {texts[i][j]}"
        + (f"<br>{hover[i][j]}" if hover is not None else "")
        for i, j in places
    ]
    return {
        "type": "scatter", "mode": "markers", "x": [j for _, j in places], "y": [i for i, _ in places],
        "customdata": [[rows[i], columns[j]] for i, j in places], "text": said, "opacity": 0,
        "marker": {"symbol": "square", "size": 18}, "hovertemplate": "%{text}<extra></extra>",
        "showlegend": False,
        # A mark once chosen would otherwise become visible, and the others fainter.
        "selected": {"marker": {"opacity": 0}}, "unselected": {"marker": {"opacity": 0}},
    }  # fmt: skip


def _before_marks(
    rows: Sequence[str], row: str, before: tuple[str, np.ndarray], scale: Scale
) -> dict[str, Any]:
    texts = _texts(np.asarray(before[1], float)[:, None], scale)
    return {
        "type": "scatter", "mode": "markers", "x": [-1.4] * len(rows), "y": list(range(len(rows))),
        "text": [f"{row}: {label(name)}<br>{before[0]}: {t[0]}" for name, t in zip(rows, texts, strict=True)],
        "opacity": 0, "marker": {"symbol": "square", "size": 18}, "hovertemplate": "%{text}<extra></extra>",
        "showlegend": False, "selected": {"marker": {"opacity": 0}}, "unselected": {"marker": {"opacity": 0}},
    }  # fmt: skip


def _box(x: float, y: float, colour: str, width: float) -> dict[str, Any]:
    return {
        "type": "rect", "x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5,
        "line": {"color": colour, "width": width}, "layer": "above",
    }  # fmt: skip


def _shapes(
    rows: Sequence[str], columns: Sequence[str], selected: tuple[str, str] | None, diagonal: bool
) -> list[dict[str, Any]]:
    at = {name: i for i, name in enumerate(rows)}
    shapes = []
    if diagonal:
        shapes = [_box(j, at[name], _OUTLINE, 1.5) for j, name in enumerate(columns) if name in at]
    if selected is not None and selected[0] in at and selected[1] in columns:
        shapes.append(_box(list(columns).index(selected[1]), at[selected[0]], LOSS, 3))
    return shapes


def _every(count: int, height: float) -> int:
    """Return after how many rows the next one gets a label, so that labels never touch."""
    return max(1, int(np.ceil(14 / height))) if count > 1 else 1


def _layout(
    rows: Sequence[str], columns: Sequence[str], row: str, column: str, height: float,
    before: tuple[str, np.ndarray] | None, shapes: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    step, across = _every(len(rows), height), max(1, len(columns) // 40)
    x_ticks: list[float] = []
    x_ticks, x_names = list(range(0, len(columns), across)), labels(columns)[::across]
    if before is not None:
        x_ticks, x_names = [-1.4, *x_ticks], [f"<b>{before[0]}</b>", *x_names]
    longest = max((len(label(name)) for name in columns[::across]), default=0)
    slanted = longest * 8 * len(x_names) > 900
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "automargin": True, "ticks": ""}
    return {
        "height": int(height * len(rows) + 120 + (6 * longest if slanted else 0)),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "dragmode": False,
        # Always the nearest cell: in a grid of equal steps that is the one under the pointer.
        "hovermode": "closest", "hoverdistance": -1, "clickmode": "event+select", "shapes": shapes,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis | {
            "title": {"text": column}, "tickvals": x_ticks, "ticktext": x_names,
            "range": [-2.0 if before is not None else -0.5, len(columns) - 0.5],
            # Without an angle Plotly turns the labels where the page is too narrow for them.
            **({"tickangle": -45} if slanted else {"autotickangles": [0, -45, -90]}),
        },
        "yaxis": axis | {
            "title": {"text": row}, "range": [len(rows) - 0.5, -0.5],
            "tickvals": list(range(0, len(rows), step)),
            "ticktext": labels(rows)[::step], "ticklabelstandoff": 4,
        },
    }  # fmt: skip
