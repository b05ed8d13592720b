"""Letters that can be read on what lies behind them: the colour of a cell, and black or white on it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["INKS", "colour_at", "contrast", "ink"]

INKS = ("#000000", "#FFFFFF")
"""Black and white: on any colour one of the two has a contrast of 4.58 or more."""

Colour = tuple[float, float, float]


def _parts(text: str) -> Colour:
    """Return the red, green and blue of "#rrggbb" or "rgb(r, g, b)"."""
    if text.startswith("#"):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    red, green, blue = (float(part) for part in text[text.index("(") + 1 : text.index(")")].split(",")[:3])
    return red, green, blue


def colour_at(scale: Sequence[Sequence[float | str]], share: float) -> Colour:
    """Return the colour of a colour scale at a place, mixed between its stops as Plotly mixes it.

    Args:
        scale: pairs of a place in [0, 1] and a colour, in order.
        share: the place; beyond the ends it is the end.
    """
    stops = [(float(place), _parts(str(colour))) for place, colour in scale]
    share = min(max(share, stops[0][0]), stops[-1][0])
    for (low, before), (high, after) in zip(stops, stops[1:], strict=False):
        if share <= high:
            part = (share - low) / (high - low) if high > low else 1.0
            red, green, blue = (a + part * (b - a) for a, b in zip(before, after, strict=True))
            return red, green, blue
    return stops[-1][1]


def _luminance(colour: Colour) -> float:
    """Return the relative luminance, as WCAG 2.2 defines it."""
    linear = [
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4
        for part in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour | str, other: Colour | str) -> float:
    """Return the contrast ratio of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    first, second = (
        _luminance(_parts(colour) if isinstance(colour, str) else colour) for colour in (one, other)
    )
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def ink(behind: Colour | str) -> str:
    """Return black or white, whichever is read better on a colour."""
    return max(INKS, key=lambda letter: contrast(letter, behind))
