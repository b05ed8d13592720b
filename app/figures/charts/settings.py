"""Settings of an edit as rows of the table of a search: series of them, and one that was clicked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

__all__ = ["clicked_row", "series_of", "table_row"]

_SETTING = ("group", "scaling", "power", "clip", "strength")
_SERIES = ("group", "scaling", "power", "clip")


def series_of(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the settings that differ in strength alone, each with a name that says what sets it apart."""
    varies = {name: table[name].nunique() > 1 for name in _SERIES}
    found = []
    for (group, scaling, power, clip), rows in table.groupby(list(_SERIES), sort=False):
        parts = [
            f"{group}" if varies["group"] else "",
            f"{scaling}" if varies["scaling"] else "",
            f"selectivity {power:g}{' capped' if clip else ''}" if varies["power"] or varies["clip"] else "",
        ]
        found.append((", ".join(filter(None, parts)) or "Settings", rows.sort_values("strength")))
    return found


def table_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the setting of a row as something that can be compared."""
    group, scaling, power, clip, strength = (row[name] for name in _SETTING)
    return str(group), str(scaling), float(power), bool(clip), float(strength)


def clicked_row(points: Sequence[int], table: pd.DataFrame) -> dict[str, Any] | None:
    """Return the setting that was clicked, as a row of the table; None without one."""
    known = [point for point in points if point in table.index]
    return {str(k): v for k, v in table.loc[known[0]].to_dict().items()} if known else None
