"""How a matrix of concepts is drawn, as it stands on the screen and in the address."""

from __future__ import annotations

__all__ = ["CHANGE", "CELLS", "CLUSTER", "DAMAGE", "NAME", "ORDERS", "PLAIN", "SCORE"]

# These texts are shown on the screen and stand in the address: a change breaks links.
PLAIN, DAMAGE, CLUSTER, NAME = ORDERS = ("as in the model", "by damage", "by cluster", "by name")
CHANGE, SCORE = CELLS = ("change", "score")
