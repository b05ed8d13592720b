"""Read a JSON file of a model folder: bounded, one object, no field twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..libraries import first_line

__all__ = ["MOST_JSON", "read_json"]

MOST_JSON = 8 << 20
"""Bytes of a config: the largest in use (thousands of class names) have some hundred thousand."""


def read_json(file: Path, most: int = MOST_JSON) -> dict[str, Any]:
    """Return the object that a JSON file of a model folder holds.

    Args:
        file: the file.
        most: bytes that it may have.

    Raises:
        StorageError: too large, no JSON, or no object.
    """
    try:
        size = file.stat().st_size
        if size > most:
            raise StorageError(
                f"{file} has {size / 2**20:,.0f} MB; at most {most >> 20} MB are read. It is no such file."
            )
        with open(file, "rb") as opened:
            value = json.loads(opened.read(most + 1).decode("utf-8"), object_pairs_hook=_each_once)
    # Endless digits are a ValueError too, and brackets in brackets end the stack.
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{file} cannot be read as JSON ({first_line(error)}).") from None
    if not isinstance(value, dict):
        raise StorageError(f"{file} should hold a JSON object; found {type(value).__name__}.")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} stands there twice")
    return found
