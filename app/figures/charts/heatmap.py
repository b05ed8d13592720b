"""Heatmaps that can be clicked: who is probed against whose engram is used, or layer against concept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .cells import Cells, told
from .colour_scale import Scale, bounds_of, cell_texts, colour_bar, coloured, goes_below
from .highlight import named
from .labels import label, labels
from .palette import HARM, LOSS, NEUTRAL, SIGNED, SIZES

__all__ = ["grid", "heatmap"]

_ROW = 30  # pixels per row while there are few
_TALLEST = 900  # pixels of all rows together, except that no row is less than two
_NUMBERS = 14  # columns up to which each cell has its number in it
_OUTLINE = "rgba(128,128,128,0.9)"
_APART = -1.4  # where the first cell of a column or row stands that is none of the matrix
_SHARE = Scale("", 0.0, 100.0, number=".0f")


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
    above: tuple[str, np.ndarray] | None = None,
    written: Sequence[Sequence[str]] | None = None,
    hover: Sequence[Sequence[str]] | None = None,
    selected: tuple[str, str] | None = None,
    diagonal: bool = True,
    clickable: bool = True,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> go.Figure:
    """Draw a matrix, with a mark in every cell that can be clicked.

    Args:
        values: shape (rows, columns); NaN where nothing is known yet.
        rows: names, from top to bottom.
        columns: names, from left to right.
        row: what a row is.
        column: what a column is.
        scale: what the colours mean.
        before: title and values, one per row, of a column that stands apart on the left; on a scale of
            changes it has no colours.
        above: title and per cent, one per column, of a row that stands apart at the top: much of it is bad.
        written: what stands in each cell, shape (rows, columns); default the values.
        hover: more to say about each cell, shape (rows, columns).
        selected: row and column of the cell that is open below.
        diagonal: outline the cells whose row and column have one name.
        clickable: whether a click on a cell is reported.
        row_labels: what stands at each row, in Plotly's HTML; default its short name.
        column_labels: what stands at each column, in Plotly's HTML; default its short name.

    Returns:
        The figure.
    """
    values = np.asarray(values, float)
    low, high = bounds_of(values, scale)
    height = min(_ROW, max(2.0, _TALLEST / max(len(rows), 1)))
    small = len(columns) <= _NUMBERS and height >= 20
    gap = 1 if height > 4 else 0
    down = labels(rows) if row_labels is None else list(row_labels)
    across = labels(columns) if column_labels is None else list(column_labels)
    texts = cell_texts(values, scale)
    colours = SIGNED if scale.signed else SIZES
    blocks = [Cells(coloured(values, scale), written or texts, colours, (low, high), gap=gap)]
    notes: list[dict[str, Any]] = []
    if before is not None:
        first = np.asarray(before[1], float)[:, None]
        hues, said = (
            (NEUTRAL, cell_texts(first, _SHARE)) if scale.signed else (colours, cell_texts(first, scale))
        )
        blocks.append(Cells(coloured(first, scale), said, hues, (low, high), x=_APART, gap=gap))
        notes += _apart(rows, row, before[0], [line[0] for line in said], left=True)
    if above is not None:
        top = np.asarray(above[1], float)[None, :]
        said = cell_texts(top, _SHARE)
        blocks.append(Cells(coloured(top, _SHARE), said, HARM, (0.0, 100.0), y=_APART, gap=gap))
        notes += _apart(columns, column, above[0], [f"{text} %" for text in said[0]], left=False)
    traces = [block.painted() for block in blocks]
    bar = colour_bar(scale, low, high, height * len(rows), cut=goes_below(values, scale, low))
    traces[0] |= {"showscale": True, "colorbar": bar}
    hovered = _hover(rows, columns, row, column, scale, hover, texts)
    if clickable:
        traces.append(_marks(values, rows, columns, hovered))
    else:
        del traces[0]["hoverinfo"]
        traces[0] |= {
            "hovertext": hovered, "hovertemplate": "%{hovertext}<extra></extra>", "hoverongaps": False,
        }  # fmt: skip
    traces += notes
    if small:
        traces += [trace for block in blocks for trace in block.letters()]
    shapes = _shapes(rows, columns, selected, diagonal)
    layout = _layout(down, across, row, column, height, before, above, shapes)
    return go.Figure(data=traces, layout=layout | {"meta": named(rows, columns)})


def _hover(
    rows: Sequence[str], columns: Sequence[str], row: str, column: str, scale: Scale,
    more: Sequence[Sequence[str]] | None, texts: list[list[str]],
) -> list[list[str]]:  # fmt: skip
    """Return what the mouse is told about every cell."""
    return [
        [
            f"{row}: {label(rows[i])}<br>{column}: {label(columns[j])}<br>{scale.title}: {texts[i][j]}"
            + (f"<br>{more[i][j]}" if more is not None else "")
            for j in range(len(columns))
        ]
        for i in range(len(rows))
    ]


def _marks(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], said: list[list[str]]
) -> dict[str, Any]:
    """Return what can be clicked: every cell of which something is known."""
    places = [(i, j) for i in range(len(rows)) for j in range(len(columns)) if np.isfinite(values[i, j])]
    return told(
        [j for _, j in places], [i for i, _ in places], [said[i][j] for i, j in places],
        [[rows[i], columns[j]] for i, j in places],
    )  # fmt: skip


def _apart(
    names: Sequence[str], side: str, title: str, texts: Sequence[str], *, left: bool
) -> list[dict[str, Any]]:
    """Return what a column or row that stands apart says; it is no part of the matrix and opens nothing."""
    along, across = list(range(len(names))), [_APART] * len(names)
    said = [f"{side}: {label(name)}<br>{title}: {text}" for name, text in zip(names, texts, strict=True)]
    return [told(across, along, said) if left else told(along, across, said)]


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
    down: Sequence[str], across: Sequence[str], row: str, column: str, height: float,
    before: tuple[str, np.ndarray] | None, above: tuple[str, np.ndarray] | None,
    shapes: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    step, stride = _every(len(down), height), max(1, len(across) // 40)
    x_ticks: list[float] = list(range(0, len(across), stride))
    x_names = list(across[::stride])
    if before is not None:
        x_ticks, x_names = [_APART, *x_ticks], [f"<b>{before[0]}</b>", *x_names]
    y_ticks: list[float] = list(range(0, len(down), step))
    y_names = list(down[::step])
    if above is not None:
        y_ticks, y_names = [_APART, *y_ticks], [f"<b>{above[0]}</b>", *y_names]
    longest = max((len(name) for name in across[::stride]), default=0)
    slanted = longest * 8 * len(x_names) > 900
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "automargin": True, "ticks": ""}
    return {
        "height": int(height * (len(down) + (1.5 if above is not None else 0)) + 120
                      + (6 * longest if slanted else 0)),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "dragmode": False,
        # Always the nearest cell: in a grid of equal steps that is the one under the pointer.
        "hovermode": "closest", "hoverdistance": -1, "clickmode": "event+select", "shapes": shapes,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis | {
            "title": {"text": column}, "tickvals": x_ticks, "ticktext": x_names,
            "range": [-2.0 if before is not None else -0.5, len(across) - 0.5],
            # Without an angle Plotly turns the labels where the page is too narrow for them.
            **({"tickangle": -45} if slanted else {"autotickangles": [0, -45, -90]}),
        },
        "yaxis": axis | {
            "title": {"text": row}, "range": [len(down) - 0.5, -2.0 if above is not None else -0.5],
            "tickvals": y_ticks, "ticktext": y_names, "ticklabelstandoff": 4,
        },
    }  # fmt: skip
