"""Language figures: tokens by how an edit changed them, the next token, where a concept sits."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..words.as_text import untagged
from .heatmap import bar_title
from .palette import BASE, EDITED, GAIN, GRID, LOSS, SIGNED, SIZES

__all__ = [
    "HOW_TOKENS",
    "layer_token_heatmap",
    "module_heatmap",
    "next_token_figure",
    "say_map",
    "say_modules",
    "say_next",
    "say_tokens",
    "token_strip_html",
]

HOW_TOKENS: dict[str, str] = {
    "strip": (
        "**How to read this.** Each token of the text is coloured by how much the edit changed its "
        "log-probability, given the tokens before it. Orange with a solid line: less likely now. Blue with a "
        "dotted line: more likely. A change of 1 nat is a factor of 2.7. The first token has no colour: "
        "nothing comes before it."
    ),
    "next": (
        "**How to read this.** The likeliest next tokens of both models together, likeliest before the edit "
        "first. Grey is the base model, blue the edited one. The rank counts the whole vocabulary."
    ),
    "map": (
        "**How to read this.** Each cell is ‖E x‖ / ‖W x‖: how large the concept's part is in a layer's "
        "response to a token. Near 1, the response is the concept's; near 0, it has no part in it. It is a "
        "share of size, not of effect: whether a layer matters is seen by erasing there alone."
    ),
    "modules": (
        "**How to read this.** Each cell is ‖E‖ / ‖W‖: the size of the concept's engram in a weight, against "
        "the weight itself. A large engram need not be where the memory is: that is seen by erasing there "
        "alone."
    ),
}

_SHOWN = {"\n": "↵\n", "\t": "⇥", "\r": "␍"}
_STEP = 21  # pixels per row of a heat map
_AROUND = 130  # pixels above and below its rows
_MINUS = str.maketrans("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.2f}".translate(_MINUS)


def _quoted(token: str) -> str:
    return f"“{token.strip() or token}”"


def _plain(token: str) -> str:
    # Plotly drops white space.
    shown = "".join(_SHOWN.get(c, c).strip("\n") for c in token).replace(" ", "\u00a0")
    return untagged(shown)


# -- tokens of a text --------------------------------------------------------------------------


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
    shown = escape("".join(_SHOWN.get(c, c) for c in text)) or "␣"
    if not np.isfinite(change):
        return f'<span title="{escape(repr(text), quote=True)}: nothing comes before it">{shown}</span>'
    tip = escape(
        f"{text!r}: {_signed(change)} nats; probability {_share(before)} before, {_share(after)} after",
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
        f'<span>{_signed(-full)} nats, less likely</span><span aria-hidden="true" style="flex:0 0 8em;'
        f'height:.7em;border-radius:3px;background:linear-gradient(90deg, {stops})"></span>'
        f"<span>more likely, {_signed(full)} nats</span></div>"
    )


def say_tokens(table: pd.DataFrame) -> str:
    """Say the coloured text in words."""
    told = table[np.isfinite(table["change"].to_numpy(float))]
    if told.empty:
        return f"{len(table)} tokens, of which none has others before it."
    low, high = told.loc[told["change"].idxmin()], told.loc[told["change"].idxmax()]
    parts = [f"{len(table)} tokens, mean change {_signed(float(told['change'].mean()))} nats"]
    if low["change"] < 0:
        parts.append(f"largest fall {_quoted(str(low['token']))}, {_signed(low['change'])}")
    if high["change"] > 0:
        parts.append(f"largest rise {_quoted(str(high['token']))}, {_signed(high['change'])}")
    return "; ".join(parts) + "."


# -- the next token ----------------------------------------------------------------------------


def next_token_figure(table: pd.DataFrame) -> go.Figure:
    """Draw the probabilities of the next token before and after.

    Args:
        table: token, before, after, rank_before, rank_after, from top to bottom.
    """
    places = list(range(len(table)))
    names = [_plain(str(token)) for token in table["token"]]
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
    layout = _plain_layout(height=38 * len(table) + 110) | {
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


def say_next(table: pd.DataFrame) -> str:
    """Say the next-token figure in words."""
    before, after = table.loc[table["before"].idxmax()], table.loc[table["after"].idxmax()]
    if before["token"] == after["token"]:
        first = f"The likeliest next token stays {_quoted(str(before['token']))}"
    else:
        first = (
            f"The likeliest next token changes from {_quoted(str(before['token']))} to "
            f"{_quoted(str(after['token']))}"
        )
    return (
        f"{first}. {_quoted(str(before['token']))}: {before['before']:.1%} before, "
        f"{before['after']:.1%} after, now rank {int(before['rank_after']):,}."
    )


# -- heat maps ---------------------------------------------------------------------------------


def layer_token_heatmap(
    table: pd.DataFrame,
    *,
    rows: str = "layer",
    value: str = "ratio",
) -> go.Figure:
    """Draw layers × tokens of a text.

    Args:
        table: position, token, `rows` and `value`; several rows of one cell are averaged, and cells without
            any stay empty.
        rows: what stands on the vertical axis: ``"layer"``, ``"block"``, ``"module"`` or ``"part"``.
        value: ``"ratio"`` (from 0, one hue) or ``"change"`` (below and above 0, two hues).
    """
    grid = table.pivot_table(index=rows, columns="position", values=value, aggfunc="mean", sort=False)
    grid = grid.reindex(sorted(grid.columns), axis=1)
    tokens = table.drop_duplicates("position").set_index("position")["token"]
    across = [_plain(str(tokens[position])) for position in grid.columns]
    names = [str(name) for name in grid.index]
    said = {"ratio": "‖E x‖ / ‖W x‖", "change": "Change (nats)"}[value]
    figure = _heatmap(grid.to_numpy(float), across, names, said, diverging=value == "change")
    figure.update_layout(
        xaxis_title_text="Token of the text", yaxis_title_text=rows.capitalize(), xaxis_tickangle=-60
    )
    return figure


def module_heatmap(table: pd.DataFrame) -> go.Figure:
    """Draw kinds of module × blocks; layers outside the blocks are left out.

    Args:
        table: block, module and relative; several layers of one cell are averaged.
    """
    inside = table.dropna(subset=["block"])
    grid = inside.pivot_table(index="module", columns="block", values="relative", aggfunc="mean", sort=False)
    figure = _heatmap(
        grid.to_numpy(float),
        [str(block) for block in grid.columns],
        [str(m) for m in grid.index],
        "‖E‖ / ‖W‖",
        diverging=False,
    )
    figure.update_layout(xaxis_title_text="Block", yaxis_title_text="Module")
    return figure


def say_map(table: pd.DataFrame, *, rows: str = "layer", value: str = "ratio") -> str:
    """Say a layer × token map in words."""
    told = table.dropna(subset=[value])
    if told.empty:
        return "No layer answers any token."
    top = told.loc[told[value].abs().idxmax()]
    by_token = told.groupby("position")[value].mean().abs()
    token = told.loc[told["position"] == by_token.idxmax(), "token"].iloc[0]
    return (
        f"Strongest in {top[rows]} at {_quoted(str(top['token']))}: {top[value]:.2f}. Averaged over the "
        f"rows, strongest at {_quoted(str(token))}: {by_token.max():.2f}."
    )


def say_modules(table: pd.DataFrame) -> str:
    """Say a module map in words."""
    if table.empty:
        return "There is no layer."
    top = table.loc[table["relative"].idxmax()]
    means = table.groupby("module", sort=False)["relative"].mean()
    order = means.sort_values(ascending=False).index
    listed = ", ".join(f"{name} {means[name]:.2f}" for name in order)
    return f"Largest in {top['layer']}: {top['relative']:.2f}. Mean by module: {listed}."


def _heatmap(
    values: np.ndarray, across: Sequence[str], down: Sequence[str], said: str, *, diverging: bool
) -> go.Figure:
    finite = values[np.isfinite(values)]
    reach = max(float(np.abs(finite).max(initial=0.0)), 1e-9)
    colours: dict[str, Any] = {"colorscale": SIZES, "zmin": 0.0, "zmax": reach}
    if diverging:
        colours = {"colorscale": SIGNED, "zmin": -reach, "zmax": reach}
    labels = [[[name, token] for token in across] for name in down]
    height = max(220, _STEP * len(down) + _AROUND)
    trace = {
        "type": "heatmap",
        "z": [[v if np.isfinite(v) else None for v in row] for row in values.tolist()],
        "x": list(range(len(across))),
        "y": list(range(len(down))),
        "customdata": labels,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": "%{customdata[0]} · %{customdata[1]}: %{z:.3g}<extra></extra>",
        "colorbar": {"title": bar_title(said, height - _AROUND), "thickness": 14},
    } | colours
    # Positions as numbers: two tokens of one text may be the same.
    layout = _plain_layout(height=height) | {
        "xaxis": _axis("")
        | {"tickvals": list(range(len(across))), "ticktext": list(across), "showgrid": False},
        "yaxis": _axis("")
        | {
            "tickvals": list(range(len(down))),
            "ticktext": [_plain(name) for name in down],
            "showgrid": False,
            "autorange": "reversed",
        },
    }
    return go.Figure(data=[trace], layout=layout)


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title},
        "gridcolor": GRID,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
    }


def _plain_layout(*, height: int) -> dict[str, Any]:
    return {
        "height": height,
        "dragmode": False,
        "hovermode": "closest",
        "margin": {"l": 8, "r": 8, "t": 44, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
