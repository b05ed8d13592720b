"""Who is damaged by an edit and who is spared: ranked, and said."""

from __future__ import annotations

import pandas as pd

from .criteria import points

__all__ = ["SAID_ELSEWHERE", "say_hidden", "say_top", "worst_pairs"]

SAID_ELSEWHERE = "said to others"
"""Of a column of sufficiency: how often the kept concept is the answer to the inputs of the others."""

_TELLING = 0.005  # half a point: what is less is not called a loss


def worst_pairs(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the greatest losses of a concept to the erasing of another one.

    Args:
        table: concept, probe, score, base, delta.
        most: rows at most.

    Returns:
        Those columns, the greatest loss first.
    """
    others = table[table["concept"] != table["probe"]]
    worst = others.sort_values("delta", kind="stable").head(most)
    return worst[["concept", "probe", "base", "score", "delta"]].reset_index(drop=True)


def say_top(table: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Say who loses most to whom, and how many lose anything.

    Args:
        table: concept, probe, delta.
        pairs: from `worst_pairs`.

    Returns:
        A sentence or two.
    """
    others = table[table["concept"] != table["probe"]]
    if not len(pairs):
        return "No other concept was probed."
    lost = int((others["delta"] <= -_TELLING).sum())
    first = pairs.iloc[0]
    if not lost:
        return f"No concept loses half a point to the erasing of another one, in {len(others)} pairs."
    return (
        f"“{first['probe']}” suffers most: {points(first['delta'])} points when “{first['concept']}” is "
        f"erased. "
        f"{lost} of {len(others)} pairs of a probed and another, erased concept lose half a point or more."
    )


def say_hidden(hidden: int, shown: int) -> str:
    """Say that rows were left out, if any were."""
    if not hidden:
        return ""
    return f" {hidden} rows that lose less than 1 point to any other concept are hidden; {shown} are shown."
