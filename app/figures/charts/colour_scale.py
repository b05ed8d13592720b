"""What the colours of a matrix mean: their ends, their bar, and the numbers as text."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

__all__ = ["Scale", "bar_title", "bounds_of", "cell_texts", "colour_bar", "coloured", "goes_below"]

_LETTER = 7.5  # pixels of one letter of a colour bar's title, in presenter mode as well
_DECADES = 3  # powers of ten that logarithmic colours tell apart; a few empty layers must not take them all


@dataclass(frozen=True)
class Scale:
    """What the colours mean.

    Attributes:
        title: the quantity, with its unit.
        low: value of the darkest colour; None for the least one.
        high: value of the lightest colour; None for the greatest one.
        log: colour by the logarithm; what lies more than three powers of ten below the greatest is as dark.
        signed: one hue below zero and another above; `high` counts on both sides, `low` does not.
        root: colour by the square root, with its sign, so that small values lie apart.
        number: how a value is written (a format of Python).
    """

    title: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    signed: bool = False
    root: bool = False
    number: str = ".2f"


def bounds_of(values: np.ndarray, scale: Scale) -> tuple[float, float]:
    """Return the values of the darkest and the lightest colour; logarithms for a logarithmic scale."""
    shown = coloured(values, scale)
    known = [v for line in shown for v in line if v is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if scale.signed:
        reach = max(-low, high, 1e-9) if scale.high is None else _place(scale, scale.high)
        return -reach, reach
    if scale.log:
        low = max(low, high - _DECADES)
    if scale.low is not None:
        low = _place(scale, scale.low)
    if scale.high is not None:
        high = _place(scale, scale.high)
    return low, high if high > low else low + 1e-9


def _place(scale: Scale, value: float) -> float:
    """Return the number that a value is coloured by."""
    (place,) = coloured(np.array([[value]], float), scale)[0]
    return -np.inf if place is None else place


def goes_below(values: np.ndarray, scale: Scale, low: float) -> bool:
    """Return whether a value lies below the darkest colour."""
    return any(v is not None and v < low for line in coloured(values, scale) for v in line)


def coloured(values: np.ndarray, scale: Scale) -> list[list[float | None]]:
    """Return what each cell is coloured by; None where nothing is known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.log10(values) if scale.log else values
        shown = np.sign(shown) * np.sqrt(np.abs(shown)) if scale.root else shown
    return [[float(v) if np.isfinite(v) else None for v in line] for line in shown]


def cell_texts(values: np.ndarray, scale: Scale) -> list[list[str]]:
    """Return the number in each cell as text; "" where nothing is known."""
    return [[_number(v, scale.number) if np.isfinite(v) else "" for v in line] for line in values]


def _number(value: float, how: str) -> str:
    text = format(value, how).rstrip(".")
    # What rounds to nothing has no sign.
    return (text.lstrip("-") if not float(text) else text).replace("-", "−")


def bar_title(title: str, pixels: float) -> dict[str, Any]:
    """Return the title beside a colour bar, in as many lines as its height asks for.

    Args:
        title: the quantity, with its unit.
        pixels: height of the bar.
    """
    lines = wrap(title, max(12, int(pixels / _LETTER)), break_long_words=False, break_on_hyphens=False)
    return {"text": "<br>".join(lines), "side": "right"}


def colour_bar(scale: Scale, low: float, high: float, pixels: float, *, cut: bool = False) -> dict[str, Any]:
    """Return the colour bar.

    Args:
        scale: what the colours mean.
        low: value of the darkest colour, from `bounds_of`.
        high: value of the lightest colour.
        pixels: height of the bar.
        cut: whether values lie below `low`.
    """
    found: dict[str, Any] = {
        "title": bar_title(scale.title, pixels), "thickness": 12, "outlinewidth": 0, "len": 1.0,
    }  # fmt: skip
    if scale.log:
        ticks = [t for t in range(int(np.floor(low)), int(np.ceil(high)) + 1) if low <= t <= high]
        # Within one power of ten there would be no tick at all.
        marks = ticks if len(ticks) > 1 else np.linspace(low, high, 4).tolist()
        if cut:
            marks = [low, *(mark for mark in marks if mark > low + 0.3)]
        said = [f"{'≤ ' if cut and mark == low else ''}{10.0**mark:.2g}" for mark in marks]
        found |= {"tickvals": marks, "ticktext": said}
    elif scale.root:
        reach = max(low**2, high**2)
        step = 10 ** np.floor(np.log10(reach)) if reach > 0 else 1.0
        ends = [step * part for part in (0.05, 0.25, 0.5, 1, 2.5, 5) if 0.04 * reach < step * part <= reach]
        values = [*(-end for end in reversed(ends) if low < 0), 0.0, *ends]
        found["tickvals"] = [float(np.sign(value) * np.sqrt(abs(value))) for value in values]
        found["ticktext"] = [f"{value:+.3g}".replace("-", "−") if value else "0" for value in values]
    return found
