"""How an effect stands against its shams: mean, spread, z and p (docs/science.md section 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ..errors import DataError

__all__ = ["CONTROL_SEEDS", "SHAMS", "TAILS", "add_control", "significance"]

CONTROL_SEEDS = 20
"""Shams of each kind, unless another number is asked for."""

SHAMS = ("gaussian", "subset")
"""The kinds of sham; see `shams`."""

TAILS = {"mean": "", "sd": "_sd", "z": "_z", "p": "_p"}
"""What a table's columns about a kind of sham end in."""


def significance(effect: float, shams: Iterable[float]) -> tuple[float, float, float, float]:
    """Hold an effect against its shams (docs/science.md section 7).

    Returns:
        Mean and standard deviation of the shams, ``z = (effect − mean) / sd`` (infinite if the shams
        are all one value that the effect differs from, 0 if it does not differ), and
        ``p = (1 + #{sham ≥ effect}) / (1 + n)``. What is not defined stays so: z and p are NaN then.
    """
    values = np.asarray(list(shams), dtype=float)
    if len(values) < 2:
        raise DataError(f"A control needs at least two shams; found {len(values)}.")
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    if np.isnan(effect) or np.isnan(mean):
        return mean, deviation, np.nan, np.nan  # a comparison with NaN is false, which would look significant
    gap = effect - mean
    # Shams that are all alike differ by rounding at most; that is no spread to divide by.
    spread = deviation > 1e-12
    z = gap / deviation if spread else (0.0 if abs(gap) <= 1e-12 else float(np.copysign(np.inf, gap)))
    p = (1 + int((values >= effect).sum())) / (1 + len(values))
    return mean, deviation, z, p


def add_control(
    frame: pd.DataFrame, label: str, effect: np.ndarray, shams: Sequence[np.ndarray], *, falls: bool = False
) -> None:
    """Add mean, _sd, _z and _p of shams to a table; with `falls`, a lower value is the stronger effect."""
    sign = -1.0 if falls else 1.0
    table = np.stack(shams)
    found = [significance(sign * e, sign * table[:, i]) for i, e in enumerate(effect)]
    frame[label] = [sign * mean for mean, *_ in found]
    frame[f"{label}_sd"] = [deviation for _, deviation, *_ in found]
    frame[f"{label}_z"] = [z for *_, z, _ in found]
    frame[f"{label}_p"] = [p for *_, p in found]
