"""What the control did to each class: scores of sham edits, from lowest to highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Control"]


@dataclass(frozen=True)
class Control:
    """Scores of sham edits per class, in the order of the classes, as shares of 1.

    Attributes:
        mean: over the seeds.
        low: the least.
        high: the greatest.
        seeds: how many.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int

    @classmethod
    def of(cls, classes: Sequence[str], runs: Sequence[Mapping[str, float]]) -> Control | None:
        """Summarise the scores of several runs; None without any."""
        if not runs:
            return None
        table = np.array([[run[name] for name in classes] for run in runs])
        return cls(table.mean(0), table.min(0), table.max(0), len(runs))

    def only(self, classes: Sequence[str], shown: Sequence[str]) -> Control:
        """Return the control of some of the classes, in their order."""
        at = [list(classes).index(name) for name in shown]
        return Control(self.mean[at], self.low[at], self.high[at], self.seeds)
