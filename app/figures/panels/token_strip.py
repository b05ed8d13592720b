"""A text as HTML, its tokens coloured by what an edit changed."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from ..charts.palette import GAIN, LOSS
from ..words.tokens import SHOWN, say_tokens, signed

__all__ = ["token_strip_html"]


def token_strip_html(table: pd.DataFrame, *, reach: float | None = None, label: str = "Text") -> str:
    """Return a text as HTML, its tokens coloured by the change in log-probability.

    Colours come from the page's variables ``--ee-loss`` and ``--ee-edited`` and are mixed with what lies
    below, so they work on light and dark; losses and gains also differ in their underline.

    Args:
        table: token, before, after, change (nats; NaN has no colour), in the order of the text.
        reach: the change that has the full colour; default the largest, and at least 1 nat.
        label: what the text is, for those who hear the page.
    """
    changes = table["change"].to_numpy(float)
    full = reach or max(1.0, float(np.nanmax(np.abs(changes), initial=0.0)))
    spans = [
        _token(str(row.token), float(row.before), float(row.after), float(row.change), full)  # type: ignore[arg-type]
        for row in table[["token", "before", "after", "change"]].itertuples(index=False)
    ]
    alternative = escape(f"{label}: {say_tokens(table)}", quote=True)
    return (
        f'<div class="ee-tokens" role="group" aria-label="{alternative}" style="white-space:pre-wrap;'
        f'line-height:2;overflow-wrap:anywhere">{"".join(spans)}</div>{_scale(full)}'
    )


def _token(text: str, before: float, after: float, change: float, full: float) -> str:
    shown = escape("".join(SHOWN.get(c, c) for c in text)) or "␣"
    if not np.isfinite(change):
        return f'<span title="{escape(repr(text), quote=True)}: nothing comes before it">{shown}</span>'
    tip = escape(
        f"{text!r}: {signed(change)} nats; probability {_share(before)} before, {_share(after)} after",
        quote=True,
    )
    # More than 60 % would take the contrast from the letters.
    percent = 60 * min(1.0, abs(change) / full)
    name, fallback, line = ("--ee-loss", LOSS, "solid") if change < 0 else ("--ee-edited", GAIN, "dotted")
    colour = f"var({name}, {fallback})"
    border = f"border-bottom:2px {line} {colour};" if percent >= 5 else ""
    return (
        f'<span title="{tip}" style="background:color-mix(in srgb, {colour} {percent:.0f}%, transparent);'
        f'{border}border-radius:3px;padding:.1em 0">{shown}</span>'
    )


def _share(logprob: float) -> str:
    share = float(np.exp(logprob))
    return "under 0.01 %" if share < 1e-4 else f"{100 * share:.2f} %"


def _scale(full: float) -> str:
    stops = ", ".join(
        f"color-mix(in srgb, var({name}, {colour}) {percent}%, transparent)"
        for name, colour, percent in (
            ("--ee-loss", LOSS, 60),
            ("--ee-loss", LOSS, 0),
            ("--ee-edited", GAIN, 60),
        )
    )
    return (
        '<div class="ee-token-scale" style="display:flex;gap:.6em;align-items:center;font-size:.82rem">'
        f'<span>{signed(-full)} nats, less likely</span><span aria-hidden="true" style="flex:0 0 8em;'
        f'height:.7em;border-radius:3px;background:linear-gradient(90deg, {stops})"></span>'
        f"<span>more likely, {signed(full)} nats</span></div>"
    )
