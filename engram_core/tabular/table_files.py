"""A table from a file: numbers in some columns, and one column that says of each row which class it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..language.text_files import file_rows
from ..language.text_rows import brief

__all__ = ["LABELS", "Table", "number_or_none", "read_table"]

LABELS = ("label", "class", "target", "y", "species", "category")
"""What people call the column that says the class."""
_SHOWN = 20  # problems, and columns, named in one error


@dataclass(frozen=True)
class Table:
    """A table with a label for each row.

    Attributes:
        names: of the features.
        values: shape (rows, features), float64.
        labels: one for each row.
    """

    names: tuple[str, ...]
    values: np.ndarray
    labels: tuple[str, ...]


def read_table(path: str | Path, *, label: str | None = None, features: Sequence[str] | None = None) -> Table:
    """Read a table from a CSV, JSONL or JSON file.

    Args:
        path: the file; its first line, or its fields, name the columns.
        label: the column that says the class. Default: the one that is called so, or the only one that holds
            no numbers.
        features: the columns that a model reads, in its order. Default: all others.

    Returns:
        The table.

    Raises:
        DataError: if the file cannot be read, naming every bad column and row, all at once.
    """
    path = Path(path)
    rows, unit = file_rows(path, lambda header: None)
    problems: list[str] = []
    good: list[tuple[int, Mapping[str, Any]]] = []
    for number, row in rows:
        if isinstance(row, Mapping):
            good.append((number, row))
        else:
            said = row if isinstance(row, DataError) else f"expected a row; found {type(row).__name__}"
            problems.append(f"{unit} {number}: {said}")
    columns = list(dict.fromkeys(str(name) for _, row in good for name in row))
    if not good or problems:
        _refuse(path, problems or ["there is no row"])
    label = _label(path, good, columns, label)
    names = [name for name in columns if name != label] if features is None else list(features)
    if missing := [name for name in names if name not in columns]:
        raise DataError(
            f"{path}: the model reads {_few(names)}, and there is no column {_few(missing)}; found "
            f"{_few(columns)}."
        )
    values = np.empty((len(good), len(names)))
    for place, name in enumerate(names):
        column = [(number, number_or_none(row.get(name))) for number, row in good]
        values[:, place] = [math.nan if value is None else value for _, value in column]
        if wrong := [number for number, value in column if value is None]:
            row = dict(good)[wrong[0]]
            every = len(wrong) == len(good)
            many = "no value is a number" if every else f"{len(wrong)} values are no numbers"
            first = f"{unit} {wrong[0]} has {brief(str(row.get(name, '')), 30)!r}"
            problems.append(f"column {brief(name)!r}: {many} ({first})")
    labels = [_text(row.get(label)) for _, row in good]
    if empty := [number for (number, _), text in zip(good, labels, strict=True) if not text]:
        problems.append(f"column {brief(label)!r}: {len(empty)} rows have no label ({unit} {empty[0]})")
    if problems:
        _refuse(path, problems)
    return Table(tuple(names), values, tuple(labels))


def _refuse(path: Path, problems: Sequence[str]) -> None:
    more = f"\n… and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    raise DataError(f"{count} in {path}; nothing was taken:\n" + "\n".join(problems[:_SHOWN]) + more)


def _label(
    path: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], columns: Sequence[str], label: str | None
) -> str:
    """Return the column of the labels."""
    if label is not None:
        if label not in columns:
            raise DataError(f"{path}: there is no column {brief(label)!r}; found {_few(columns)}.")
        return label
    called = [name for name in columns if name.strip().casefold() in LABELS]
    words = [name for name in columns if all(number_or_none(row.get(name)) is None for _, row in rows)]
    found = called or words
    if len(found) != 1:
        raise DataError(
            f"{path}: which column says the class is not known; found {_few(columns)}. Say it: label='…' "
            "(on the command line --columns label=…)."
        )
    return found[0]


def number_or_none(value: Any) -> float | None:
    """Return a cell's number, or None if it holds none.

    Args:
        value: the cell.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _text(value: Any) -> str:
    # A class that is called 1 stands as 1.0 in some files, and as a number in others.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def _few(names: Iterable[str]) -> str:
    shown = [brief(str(name), 40) for name in names]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
