"""Tokens in words: how their figures are read, and what one figure shows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .as_text import Markdown, untagged

__all__ = [
    "HOW_TOKENS",
    "SHOWN",
    "quoted",
    "say_map",
    "say_modules",
    "say_next",
    "say_tokens",
    "signed",
    "token_label",
]

HOW_TOKENS: dict[str, Markdown] = {
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

SHOWN = {"\n": "↵\n", "\t": "⇥", "\r": "␍"}
"""What stands for characters that nobody sees."""
_MINUS = str.maketrans("-", "−")


def signed(value: float) -> str:
    """Return a change with its sign, in two digits."""
    return f"{value:+.2f}".translate(_MINUS)


def quoted(token: str) -> str:
    """Return a token in quotation marks, without the space before it."""
    return f"“{token.strip() or token}”"


def token_label(token: str) -> str:
    """Return a token as the label of an axis."""
    # Plotly drops white space.
    shown = "".join(SHOWN.get(c, c).strip("\n") for c in token).replace(" ", "\u00a0")
    return untagged(shown)


def say_tokens(table: pd.DataFrame) -> str:
    """Say the coloured text in words."""
    known = table[np.isfinite(table["change"].to_numpy(float))]
    if known.empty:
        return f"{len(table)} tokens, of which none has others before it."
    low, high = known.loc[known["change"].idxmin()], known.loc[known["change"].idxmax()]
    parts = [f"{len(table)} tokens, mean change {signed(float(known['change'].mean()))} nats"]
    if low["change"] < 0:
        parts.append(f"largest fall {quoted(str(low['token']))}, {signed(low['change'])}")
    if high["change"] > 0:
        parts.append(f"largest rise {quoted(str(high['token']))}, {signed(high['change'])}")
    return "; ".join(parts) + "."


def say_next(table: pd.DataFrame) -> str:
    """Say the next-token figure in words."""
    before, after = table.loc[table["before"].idxmax()], table.loc[table["after"].idxmax()]
    if before["token"] == after["token"]:
        first = f"The likeliest next token stays {quoted(str(before['token']))}"
    else:
        first = (
            f"The likeliest next token changes from {quoted(str(before['token']))} to "
            f"{quoted(str(after['token']))}"
        )
    return (
        f"{first}. {quoted(str(before['token']))}: {before['before']:.1%} before, "
        f"{before['after']:.1%} after, now rank {int(before['rank_after']):,}."
    )


def say_map(table: pd.DataFrame, *, rows: str = "layer", value: str = "ratio") -> str:
    """Say a layer × token map in words."""
    known = table.dropna(subset=[value])
    if known.empty:
        return "No layer answers any token."
    top = known.loc[known[value].abs().idxmax()]
    by_token = known.groupby("position")[value].mean().abs()
    token = known.loc[known["position"] == by_token.idxmax(), "token"].iloc[0]
    return (
        f"Strongest in {top[rows]} at {quoted(str(top['token']))}: {top[value]:.2f}. Averaged over the "
        f"rows, strongest at {quoted(str(token))}: {by_token.max():.2f}."
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
