"""The colours, once for all figures: Okabe–Ito, safe for colour-blind eyes, on white and on black."""

from __future__ import annotations

from plotly.colors import get_colorscale

__all__ = [
    "BASE", "CONTROL", "EDITED", "ERASED", "GAIN", "GRID", "HARM", "LOSS", "NEUTRAL", "SELECTED", "SIGNED",
    "SIZES", "SUBSET", "Stops",
]  # fmt: skip

Stops = list[list[float | str]]
"""A colour scale: places in [0, 1] with their colours."""

BASE = "#8A94A3"  # before: neutral
EDITED = "#0072B2"  # after: blue
GAIN = "#0072B2"  # the edited model has more
LOSS = "#D55E00"  # the edited model has less: vermillion
ERASED = "#E69F00"  # what is erased, on a map: orange
CONTROL = "#CC79A7"  # the sham edit: reddish purple, and always a diamond
SUBSET = "#009E73"  # random subsets: bluish green, and always a square
SELECTED = "#8A5CF0"  # the selected concept: violet, and always an outline
GRID = "rgba(128,128,128,0.22)"
# As stops and not by name: a letter's colour is chosen by the very colour that the browser paints.
SIZES: Stops = get_colorscale("Cividis")
"""From nothing to much, for colour-blind eyes too."""
SIGNED: Stops = [[0.0, LOSS], [0.5, "#F2F2F2"], [1.0, GAIN]]  # below and above zero
HARM: Stops = [[0.0, "#F2F2F2"], [1.0, LOSS]]  # from nothing to much of what should not be
NEUTRAL: Stops = [[0.0, "#E3E6EA"], [1.0, "#E3E6EA"]]  # a cell that the colours say nothing about
