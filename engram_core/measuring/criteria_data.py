"""Tables of the criteria as plain data with stable keys, as JSON can hold it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from .significance import SHAMS, TAILS

__all__ = ["finite_number", "function_data", "layer_means", "layers_data", "response_data"]


def finite_number(value: float) -> float | None:
    """Return the number, or None for infinity and NaN, which JSON does not know."""
    return float(value) if math.isfinite(value) else None


def _matrix(frame: pd.DataFrame, column: str) -> dict[str, dict[str, float | None]]:
    return {
        concept: {p: finite_number(v) for p, v in zip(rows["probe"], rows[column], strict=True)}
        for concept, rows in frame.groupby("concept", sort=False)
    }


def layers_data(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    """Return a column as layer, concept and probe."""
    return {layer: _matrix(rows, column) for layer, rows in frame.groupby("layer", sort=False)}


def layer_means(frame: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Return the mean over concepts of their own value and of that on the others' inputs, per layer."""
    own = frame["concept"] == frame["probe"]
    columns = {"": "value"} | {f"_{kind}": kind for kind in SHAMS if kind in frame}
    return {
        layer: {
            side + tail: finite_number(rows[column][chosen.loc[rows.index]].mean())
            for tail, column in columns.items()
            for side, chosen in (("own", own), ("others", ~own))
        }
        for layer, rows in frame.groupby("layer", sort=False)
    }


def function_data(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the table of necessity or sufficiency as plain data."""
    first = frame[frame["concept"] == frame["concept"].iloc[0]]
    found: dict[str, Any] = {
        "base": {p: finite_number(v) for p, v in zip(first["probe"], first["base"], strict=True)},
        "matrix": _matrix(frame, "score"),
        "says": _matrix(frame, "says"),
        "selective": _per_concept(frame, "selective"),
    }
    details = [c.removeprefix("base_") for c in frame.columns if c.startswith("base_")]
    if details:
        found["details"] = {
            name: {
                "base": {
                    p: finite_number(v) for p, v in zip(first["probe"], first[f"base_{name}"], strict=True)
                },
                "matrix": _matrix(frame, name),
            }
            for name in details
        }
    if "gaussian" in frame:
        found["control"] = _matrix(frame, "gaussian")
        found["controls"] = _controls_dict(frame, _matrix)
        for kind in SHAMS:
            found["controls"][kind]["selective"] = {
                name: _per_concept(frame, f"selective_{kind}{tail}") for name, tail in TAILS.items()
            }
    return found


def _per_concept(frame: pd.DataFrame, column: str) -> dict[str, float | None]:
    first = frame.drop_duplicates("concept")
    return {c: finite_number(v) for c, v in zip(first["concept"], first[column], strict=True)}


def response_data(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the table of specificity or reactivation as plain data."""
    found: dict[str, Any] = {"layers": layers_data(frame, "value")}
    if "gaussian" in frame:
        found["control"] = layers_data(frame, "gaussian")
        found["controls"] = _controls_dict(frame, layers_data)
    return found


def _controls_dict(frame: pd.DataFrame, shape: Any) -> dict[str, Any]:
    return {kind: {n: shape(frame, kind + tail) for n, tail in TAILS.items()} for kind in SHAMS}
