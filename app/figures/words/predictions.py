"""Which prediction of the tour is right, from the numbers of its experiment: the place of the option."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .experiment_table import (
    agreement,
    before_after,
    dial,
    ends_of,
    loudness,
    mean_of,
    noise_of,
    of,
    others_of,
    subject_of,
)

__all__ = [
    "right_control",
    "right_engram",
    "right_language",
    "right_limits",
    "right_necessity",
    "right_neighbours",
    "right_reactivation",
    "right_specificity",
    "right_strength",
    "right_sufficiency",
]

_MOSTLY = 0.5
_THIRD, _TWO_THIRDS = 1 / 3, 2 / 3
_ALIKE = 0.9  # cosine
_LOST, _KEPT = 0.2, 0.05  # what is left of what goes, and the mean loss of what stays
_LITTLE, _MUCH = 0.15, 0.35  # of what the whole strength takes


def _by_thirds(share: float) -> int:
    return 0 if share > _TWO_THIRDS else 1 if share >= _THIRD else 2


def right_engram(table: pd.DataFrame) -> int:
    """Over two thirds of the length of B's rows, between, or less than a third."""
    return _by_thirds(of(table, "filter of A", "length kept")["B"])


def right_reactivation(table: pd.DataFrame) -> int:
    """One large number alone; all ten nearly; or all ten at half their size and less."""
    cosine, size = agreement(table)
    return 0 if cosine < _ALIKE else 1 if size >= _MOSTLY else 2


def right_specificity(table: pd.DataFrame, concept: str = "7") -> int:
    """Which layer's part is the most silent on the other concepts."""
    means = [mean_of(values, others_of(values, concept)) for values in loudness(table).values()]
    return int(np.argmin(means))


def right_necessity(table: pd.DataFrame) -> int:
    """It goes and the others stay; all go together; or most of it stays."""
    concept, before, after, others = before_after(table)
    if after[concept] >= _MOSTLY:
        return 2
    loss = mean_of(before, others) - mean_of(after, others)
    return 0 if after[concept] < _LOST and loss < _KEPT else 1


def right_sufficiency(table: pd.DataFrame, probe: str = "3") -> int:
    """What a network of one concept says to another one: that other, the one it holds, or this and that."""
    concept = subject_of(table, " alone")
    share = of(table, f"{concept} alone", f"share called {concept}")[probe]
    return 1 if share > _MOSTLY else 2


def right_control(table: pd.DataFrame) -> int:
    """Hardly anything is lost; the concept and most others; or the concept alone."""
    concept, before, _, others = before_after(table)
    noise = noise_of(table)["mean"]
    harmed = sum(before[name] - noise[name] > _LOST for name in others)
    if harmed > len(others) / 2:
        return 1
    return 2 if before[concept] - noise[concept] > _LOST else 0


def right_strength(table: pd.DataFrame) -> int:
    """What a quarter of the strength takes of what the whole takes: little, about a quarter, or much."""
    _, left, _ = dial(table)
    share = (left[0.0] - left[0.25]) / max(left[0.0] - left[1.0], 1e-9)
    return 0 if share < _LITTLE else 1 if share <= _MUCH else 2


def right_neighbours(table: pd.DataFrame, options: Iterable[str] = ()) -> int:
    """Which of the named concepts loses most; the one after them if none of the named does."""
    _, before, after, others = before_after(table)
    low, _ = ends_of({name: after[name] - before[name] for name in others}, others)
    named = list(options)
    return named.index(low) if low in named else len(named)


def right_language(table: pd.DataFrame) -> int:
    """Most of what was known, about half, or nearly nothing."""
    concept = subject_of(table, " alone")
    share = of(table, f"{concept} alone")[concept] / max(of(table, "base")[concept], 1e-9)
    return _by_thirds(share)


def right_limits(table: pd.DataFrame) -> int:
    """Nearly all, about half, or hardly any of the erased inputs are found."""
    concept = subject_of(table, " erased")
    return _by_thirds(of(table, f"{concept} erased", "found by a reader")[concept])
