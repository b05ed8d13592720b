"""Results as people and programs read them: tables on the terminal, rows of JSON."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from . import printing

__all__ = ["WIDEST", "finite", "print_matrix", "print_table", "records"]

WIDEST = 20  # concepts; a wider matrix does not fit a terminal


def print_table(
    title: str, columns: list[str], rows: list[list[Any]], *, caption: str = "", digits: int = 3
) -> None:
    """Print a table; the first column is its row labels."""
    printing.print_table(printing.out_console, title, columns, rows, caption=caption, digits=digits)


def print_matrix(title: str, frame: pd.DataFrame, column: str, caption: str) -> None:
    """Print one column of a tidy table as concept × probe."""
    wide = frame.pivot(index="concept", columns="probe", values=column)
    order = list(dict.fromkeys(frame["probe"]))
    rows = [[name, *(float(wide.loc[name, p]) for p in order)] for name in dict.fromkeys(frame["concept"])]
    print_table(title, ["", *order], rows, caption=caption, digits=2)


def finite(value: Any) -> Any:
    """Return a value as JSON has it, which knows no infinity and no NaN: None stands for them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON has them."""
    return [{str(k): finite(v) for k, v in row.items()} for row in table.to_dict("records")]
