"""Where what belongs to an answer is drawn: the page has its order, and pictures and texts fill it."""

from __future__ import annotations

from dataclasses import dataclass

from streamlit.delta_generator import DeltaGenerator

__all__ = ["Places"]


@dataclass(frozen=True)
class Places:
    """The places of a page.

    Attributes:
        panel: both answers, side by side.
        foot: how to read them, and their export; None while nobody looks there.
        right: the figure behind them; None while nobody looks there.
    """

    panel: DeltaGenerator
    foot: DeltaGenerator | None
    right: DeltaGenerator | None
