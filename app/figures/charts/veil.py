"""The veil over a figure of the tour: what is asked is not drawn, and a note says so."""

from __future__ import annotations

from typing import Any

from .palette import GRID

__all__ = ["veil"]


def veil(*, left: float = 0.0) -> dict[str, Any]:
    """Return what a layout gets so that its figure looks closed; nothing of the answer is in it.

    Args:
        left: where it begins, as a share of the width of the plot.
    """
    pane = {
        "type": "rect", "xref": "paper", "yref": "paper", "x0": left, "x1": 1, "y0": 0, "y1": 1,
        "layer": "above",
        "fillcolor": "rgba(128,128,128,0.16)", "line": {"width": 1, "dash": "dot", "color": GRID},
    }  # fmt: skip
    words = {
        "text": "<b>?</b>  Predict first", "xref": "paper", "yref": "paper", "x": (1 + left) / 2, "y": 0.5,
        "showarrow": False, "xanchor": "center", "borderpad": 8,
        # Readable over bars of any colour, on light pages and on dark ones.
        "font": {"size": 17, "color": "white"}, "bgcolor": "rgba(30,40,50,0.85)",
    }  # fmt: skip
    return {"shapes": [pane], "annotations": [words]}
