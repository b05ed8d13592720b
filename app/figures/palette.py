"""The colours, once for all figures: Okabe–Ito, safe for colour-blind eyes, on white and on black."""

from __future__ import annotations

__all__ = ["BASE", "CONTROL", "EDITED", "GAIN", "GRID", "LOSS", "SUBSET"]

BASE = "#8A94A3"  # before: neutral
EDITED = "#0072B2"  # after: blue
GAIN = "#0072B2"  # the edited model has more
LOSS = "#D55E00"  # the edited model has less: vermillion
CONTROL = "#CC79A7"  # the sham edit: reddish purple, and always a diamond
SUBSET = "#009E73"  # random subsets: bluish green, and always a square
GRID = "rgba(128,128,128,0.22)"
