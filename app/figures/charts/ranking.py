"""A ranking: bars from the greatest loss to the greatest gain, each with its number and its control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .highlight import named
from .labels import label
from .palette import CONTROL, GAIN, GRID, LOSS

__all__ = ["ranking"]

_ROW = 28  # pixels
_ROOM = 1.28  # of the longest bar, for its number


def ranking(
    names: Sequence[str],
    values: np.ndarray,
    *,
    value: str,
    row: str,
    number: str = "+.1f",
    control: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    seeds: int = 0,
    shown: Sequence[str] | None = None,
    hover: Sequence[str] | None = None,
    colour: str | None = None,
) -> go.Figure:
    """Draw one bar per name, in the order given.

    Args:
        names: from top to bottom.
        values: one each.
        value: what a value is, with its unit.
        row: what a row is.
        number: how a value is written (a format of Python).
        control: mean, least and greatest value of sham edits.
        seeds: how many of them.
        shown: what stands at each row, in Plotly's HTML; default the short name.
        hover: more to say about each, in Plotly's HTML.
        colour: of all bars; default one for losses and one for gains.

    Returns:
        The figure.
    """
    values = np.asarray(values, float)
    down, at = [label(name) for name in names] if shown is None else list(shown), list(range(len(names)))
    texts = [_written(v, number) for v in values]
    more = [""] * len(names) if hover is None else [f"<br>{text}" for text in hover]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar", "orientation": "h", "name": "this edit", "x": values.tolist(), "y": at,
            "width": 0.62,
            "marker": {"color": [colour or (GAIN if v >= 0 else LOSS) for v in values], "line": {"width": 0}},
            "customdata": [f"{name}: {text}{said}"
                           for name, text, said in zip(down, texts, more, strict=True)],
            "hovertemplate": "%{customdata}<extra></extra>", "showlegend": control is not None,
        },
        {
            # A trace of its own: Plotly reports errors for texts on bars without any length.
            "type": "scatter", "mode": "text", "x": values.tolist(), "y": at, "showlegend": False,
            "text": [f"\u2009{text}\u2009" for text in texts], "cliponaxis": False, "hoverinfo": "skip",
            "textposition": ["middle left" if v < 0 else "middle right" for v in values],
        },
    ]  # fmt: skip
    reach = [*values, 0.0]
    if control is not None:
        mean, low, high = (np.asarray(part, float) for part in control)
        reach += [*low, *high]
        traces.append({
            "type": "scatter", "mode": "markers", "x": mean.tolist(), "y": at,
            "name": f"random edit of the same size ({seeds} seeds)",
            "marker": {"symbol": "diamond", "size": 9, "color": CONTROL},
            "error_x": {"type": "data", "symmetric": False, "color": CONTROL, "thickness": 1.5, "width": 3,
                        "array": (high - mean).tolist(), "arrayminus": (mean - low).tolist()},
            "hovertemplate": "%{x:.1f}<extra>random edit of the same size</extra>",
        })  # fmt: skip
    least, most = float(np.nanmin(reach)), float(np.nanmax(reach))
    span = [_ROOM * least, _ROOM * most] if most > least else [-1.0, 1.0]
    # Room for the numbers of short bars, too.
    room = 0.12 * (span[1] - span[0])
    span = [
        min(span[0], -room if (values < 0).any() else 0.0),
        max(span[1], room if (values >= 0).any() else 0.0),
    ]
    return go.Figure(data=traces, layout={
        "height": _ROW * len(names) + 76 + (34 if control is not None else 0), "dragmode": False,
        "hovermode": "closest", "bargap": 0.3,
        "margin": {"l": 8, "r": 8, "t": 34 if control is not None else 8, "b": 8}, "meta": named(rows=names),
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": control is not None,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"title": {"text": value}, "range": span, "gridcolor": GRID, "zerolinecolor": GRID,
                  "zeroline": True, "fixedrange": True, "nticks": 6},
        "yaxis": {"title": {"text": row}, "range": [len(names) - 0.5, -0.5], "tickvals": at, "ticktext": down,
                  "showgrid": False, "zeroline": False, "fixedrange": True, "automargin": True,
                  "ticklabelstandoff": 6},
    })  # fmt: skip


def _written(value: float, how: str) -> str:
    if not np.isfinite(value):
        return "–"
    text = format(value, how)
    return (text.lstrip("+-") if not float(text) else text).replace("-", "−")
