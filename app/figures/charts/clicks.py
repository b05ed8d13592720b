"""What was clicked in a figure, from what `st.plotly_chart` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["cell_of", "picked_points"]


def _custom_data(event: Any) -> Iterator[list[Any]]:
    selection = (event or {}).get("selection") or {}
    for point in selection.get("points") or ():
        data = point.get("customdata")
        if isinstance(data, dict):  # Streamlit hands arrays over as objects with numbers as keys
            data = [data[key] for key in sorted(data, key=int)]
        if isinstance(data, list | tuple) and data:
            yield list(data)


def cell_of(event: Any) -> tuple[str, str] | None:
    """Return row and column of the clicked cell of a matrix; None without one."""
    return next(((str(data[0]), str(data[1])) for data in _custom_data(event) if len(data) >= 2), None)


def picked_points(event: Any) -> tuple[int, ...]:
    """Return the numbers of the points in a click, box or lasso."""
    return tuple(dict.fromkeys(int(data[0]) for data in _custom_data(event)))
