"""The colours, once for all figures: Okabe–Ito, safe for colour-blind eyes, on white and on black."""

from __future__ import annotations

__all__ = ["BASE", "CONTROL", "EDITED", "GAIN", "GRID", "LOSS", "SIGNED", "SIZES", "SUBSET"]

BASE = "#8A94A3"  # before: neutral
EDITED = "#0072B2"  # after: blue
GAIN = "#0072B2"  # the edited model has more
LOSS = "#D55E00"  # the edited model has less: vermillion
CONTROL = "#CC79A7"  # the sham edit: reddish purple, and always a diamond
SUBSET = "#009E73"  # random subsets: bluish green, and always a square
GRID = "rgba(128,128,128,0.22)"
SIZES = "Cividis"  # from nothing to much, for colour-blind eyes too
SIGNED = [[0.0, LOSS], [0.5, "#F2F2F2"], [1.0, GAIN]]  # below and above zero
