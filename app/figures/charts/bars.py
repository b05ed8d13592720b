"""Paired bars: base and edited per class, with the difference beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..words.as_text import untagged
from .control import Control
from .highlight import named
from .palette import BASE, CONTROL, EDITED, GAIN, GRID, LOSS

__all__ = ["paired_bars", "probability_figure", "score_figure"]

_ROW = 32  # pixels per class


def paired_bars(
    classes: Sequence[str],
    base: np.ndarray,
    edited: np.ndarray,
    *,
    value: str,
    marks: Mapping[str, str],
    control: Control | None = None,
    counts: Sequence[int] | None = None,
    row: str = "Class",
    unit: str = "held-out image",
) -> go.Figure:
    """Draw base and edited value of each class as a pair of bars, and edited minus base.

    Args:
        classes: names, from top to bottom.
        base: values of the base model, shape (classes,), shares of 1.
        edited: values of the edited model.
        value: what the value is, for the axis, with its unit per cent.
        marks: a word to put behind a class name, such as "off".
        control: sham edits to draw on top.
        counts: inputs behind each value, for the hover text.
        row: what a row is, for the axis.
        unit: what an input is, for the hover text.

    Returns:
        The figure.
    """
    before, after = 100 * np.asarray(base, float), 100 * np.asarray(edited, float)
    names = [_label(name, marks.get(name)) for name in classes]
    hover = names
    if counts is not None:
        hover = [
            f"{name} ({count} {unit}{'s' if count != 1 else ''})"
            for name, count in zip(names, counts, strict=True)
        ]
    traces = [_bar("Base", BASE, before, hover), _bar("Edited", EDITED, after, hover)]
    if control is not None:
        traces.append(_diamonds(control, hover))
    traces += _difference(after - before, hover)
    # One dictionary, checked once: building it with make_subplots and updates takes ten times as long.
    layout = _layout(value, names, after - before, row) | {"meta": named(rows=classes)}
    return go.Figure(data=traces, layout=layout)


def _bar(title: str, colour: str, values: np.ndarray, hover: list[str]) -> dict[str, Any]:
    # Rows by number: a class called "7" as a category would be taken for a place on the axis.
    return {
        "type": "bar", "orientation": "h", "name": title, "x": values.tolist(), "y": list(range(len(values))),
        "marker": {"color": colour, "line": {"width": 0}}, "customdata": hover,
        "hovertemplate": "%{customdata}: %{x:.1f} %<extra>" + title + "</extra>",
    }  # fmt: skip


def _diamonds(control: Control, hover: list[str]) -> dict[str, Any]:
    mean, low, high = (100 * part for part in (control.mean, control.low, control.high))
    return {
        "type": "scatter", "mode": "markers", "customdata": hover,
        "x": mean.tolist(), "y": list(range(len(mean))),
        "name": f"Control: random edit of equal size ({control.seeds} seeds)",
        "marker": {"symbol": "diamond", "size": 9, "color": CONTROL, "line": {"width": 1, "color": "white"}},
        "error_x": {"type": "data", "symmetric": False, "array": (high - mean).tolist(),
                    "arrayminus": (mean - low).tolist(),
                    "color": CONTROL, "thickness": 1.5, "width": 3},
        "hovertemplate": "%{customdata}: %{x:.1f} %<extra>Control</extra>",
    }  # fmt: skip


def _difference(change: np.ndarray, hover: list[str]) -> list[dict[str, Any]]:
    """Return the bars of the right half, and their numbers.

    The numbers are a trace of their own: Plotly reports errors for texts on bars without any length. They
    stand at zero, on the side where the bar is not: there is room for them however narrow the figure.
    """
    place = {"x": change.tolist(), "y": list(range(len(change))), "xaxis": "x2", "showlegend": False}
    return [
        {
            "type": "bar", "orientation": "h", "name": "Difference", "width": 0.5, "customdata": hover,
            "marker": {"color": [GAIN if c >= 0 else LOSS for c in change], "line": {"width": 0}},
            "hovertemplate": "%{customdata}: %{x:+.1f} points<extra>Edited − base</extra>",
        } | place,
        {
            "type": "scatter", "mode": "text", "text": [_signed(c) for c in change], "cliponaxis": False,
            "textposition": ["middle left" if c > 0 else "middle right" for c in change],
            "textfont": {"size": 12}, "hoverinfo": "skip",
        } | place | {"x": [0.0] * len(change)},
    ]  # fmt: skip


def _layout(value: str, names: list[str], change: np.ndarray, row: str) -> dict[str, Any]:
    most = max(12.0, float(np.abs(change).max(initial=0.0)))
    reach, end = 1.15 * most, 100 if most > 90 else 10 * (most // 10)
    x = {"gridcolor": GRID, "zeroline": True, "zerolinecolor": GRID, "fixedrange": True, "tickangle": 0}
    return {
        "barmode": "group", "bargap": 0.28, "bargroupgap": 0.06, "height": _ROW * len(names) + 118,
        "dragmode": False, "hovermode": "closest", "margin": {"l": 8, "r": 8, "t": 44, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "yaxis": {
            "title": {"text": row}, "range": [len(names) - 0.5, -0.5],
            "tickvals": list(range(len(names))), "ticktext": names, "tickfont": {"size": 13},
            "ticklabelstandoff": 6, "automargin": True,
            "showgrid": False, "zeroline": False, "fixedrange": True,
        },
        "xaxis": x | {"title": {"text": value}, "range": [0, 102], "tickvals": [0, 25, 50, 75, 100],
                      "domain": [0, 0.56]},
        "xaxis2": x | {"title": {"text": "Difference<br>(points)"}, "range": [-reach, reach],
                       "tickvals": [-end, 0, end], "domain": [0.68, 1], "anchor": "y"},
    }  # fmt: skip


def _label(name: str, mark: str | None) -> str:
    safe = untagged(name)
    return f"<b>{safe}</b> · {mark}" if mark else safe


def _signed(value: float) -> str:
    # Narrow spaces keep the number off the end of its bar.
    return "\u2009" + ("0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "−")) + "\u2009"


def probability_figure(
    classes: Sequence[str],
    base: np.ndarray,
    edited: np.ndarray,
    *,
    truth: str | None,
    marks: Mapping[str, str],
) -> go.Figure:
    """Draw the probability that base and edited model give each class for one image."""
    both = dict(marks)
    if truth is not None:
        both[truth] = f"true, {marks[truth]}" if truth in marks else "true"
    return paired_bars(classes, base, edited, value="Probability (%)", marks=both)


def score_figure(
    classes: Sequence[str],
    base: Mapping[str, float],
    edited: Mapping[str, float],
    *,
    counts: Mapping[str, int],
    marks: Mapping[str, str],
    control: Control | None = None,
    value: str = "Accuracy (%)",
    row: str = "Class",
    unit: str = "held-out image",
) -> go.Figure:
    """Draw the held-out score of each class, base and edited, with the control."""
    return paired_bars(
        classes,
        np.array([base[name] for name in classes]),
        np.array([edited[name] for name in classes]),
        value=value,
        marks=marks,
        control=control,
        counts=[counts[name] for name in classes],
        row=row,
        unit=unit,
    )
