"""What one edit did to the concepts it erases and to others, and means of that over several edits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Figures", "averaged", "compared"]


@dataclass(frozen=True)
class Figures:
    """What one edit did, by measure (``"score"`` and the details of the task): mean after, mean before.

    Attributes:
        forget: over the erased concepts; NaN for a measure that none of them has.
        retain: over the others.
        highest: the highest score of an erased concept.
    """

    forget: dict[str, tuple[float, float]]
    retain: dict[str, tuple[float, float]]
    highest: float


def compared(
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
    target: Sequence[str],
    others: Sequence[str],
) -> Figures:
    """Return what an edit did, from every measure of every concept before and after it."""
    measures = dict.fromkeys(measure for values in after.values() for measure in values)
    sides: list[dict[str, tuple[float, float]]] = []
    for members in (target, others):
        side = {}
        for measure in measures:
            known = [name for name in members if measure in after[name]]
            side[measure] = (_mean(after, known, measure), _mean(before, known, measure))
        sides.append(side)
    return Figures(sides[0], sides[1], max(after[name]["score"] for name in target))


def _mean(values: Mapping[str, Mapping[str, float]], names: Sequence[str], measure: str) -> float:
    return sum(values[name][measure] for name in names) / len(names) if names else math.nan


def averaged(found: Sequence[Figures]) -> dict[str, float]:
    """Return the means over several targets, as the columns of a sweep's table."""
    row: dict[str, float] = {}
    for name in dict.fromkeys(measure for figures in found for measure in figures.forget):
        tail = "" if name == "score" else f"_{name}"
        sign = -1.0 if "nll" in name else 1.0
        none = (math.nan, math.nan)
        sides = [
            np.array([side.get(name, none) for side in part])
            for part in ([f.forget for f in found], [f.retain for f in found])
        ]
        for label, gap, values in zip(("forget", "retain"), ("lost", "damage"), sides, strict=True):
            now, base = _mean_known(values[:, 0]), _mean_known(values[:, 1])
            row |= {label + tail: now, f"base_{label}{tail}": base, gap + tail: sign * (base - now)}
        if name == "score":
            row["worst_forget"] = max(f.highest for f in found)
            row["worst_damage"] = float((sides[1][:, 1] - sides[1][:, 0]).max())
    return row


def _mean_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
