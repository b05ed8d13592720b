"""The probabilities of the next token before and after an edit."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..words.tokens import token_label
from .palette import BASE, EDITED, GRID

__all__ = ["next_token_figure"]


def next_token_figure(table: pd.DataFrame) -> go.Figure:
    """Draw the probabilities of the next token before and after.

    Args:
        table: token, before, after, rank_before, rank_after, from top to bottom.

    Returns:
        The figure.
    """
    places = list(range(len(table)))
    names = [token_label(str(token)) for token in table["token"]]
    traces = []
    for title, column, colour in (("Base", "before", BASE), ("Edited", "after", EDITED)):
        ranks = table[f"rank_{column}"].astype(int)
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": title,
                "y": places,
                "x": (100 * table[column].astype(float)).tolist(),
                "marker": {"color": colour},
                "customdata": [[n, int(r)] for n, r in zip(names, ranks, strict=True)],
                "hovertemplate": "%{customdata[0]}: %{x:.3g} %, rank %{customdata[1]:,}"
                f"<extra>{title}</extra>",
            }
        )
    top = max([1.0, *(100 * table[["before", "after"]].to_numpy(float)).ravel()])
    layout = _layout(height=38 * len(table) + 110) | {
        "barmode": "group",
        "bargap": 0.28,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": _axis("Probability (%)") | {"range": [0, min(102.0, 1.08 * top)]},
        "yaxis": _axis("Token")
        | {
            "tickvals": places,
            "ticktext": names,
            "range": [len(table) - 0.5, -0.5],
            "showgrid": False,
        },
    }
    return go.Figure(data=traces, layout=layout)


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title},
        "gridcolor": GRID,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
    }


def _layout(*, height: int) -> dict[str, Any]:
    return {
        "height": height,
        "dragmode": False,
        "hovermode": "closest",
        "margin": {"l": 8, "r": 8, "t": 44, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
