"""The settings of an edit that a sweep tries, and the concepts it erases at each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..atlas import Atlas
from ..editing.edit import Edit
from ..errors import DataError

__all__ = ["SETTING", "Target", "targets_of", "with_strength"]

SETTING = ("group", "scaling", "power", "clip", "strength")
"""The columns of a table that name a setting."""

Target = tuple[str, ...]
"""Concepts that are erased together."""


def targets_of(
    atlas: Atlas,
    concepts: Iterable[str] | None,
    together: Iterable[str] | Iterable[Iterable[str]] | None,
) -> list[Target]:
    """Return what is erased: each of `concepts` alone, or each set of `together` at once.

    Raises:
        DataError: if both are given, or there is nothing to erase.
        UnknownNameError: for a concept without an engram.
    """
    targets: list[Target]
    if together is None:
        names = list(atlas) if concepts is None else [concepts] if isinstance(concepts, str) else concepts
        targets = [(name,) for name in dict.fromkeys(names)]
    elif concepts is not None:
        raise DataError("Give either concepts, to erase one at a time, or together.")
    else:
        parts: list[Any] = [together] if isinstance(together, str) else list(together)
        sets = [parts] if all(isinstance(part, str) for part in parts) else parts
        targets = [tuple(dict.fromkeys([part] if isinstance(part, str) else part)) for part in sets]
    if not targets or not all(targets):
        raise DataError("There is no concept to erase; name at least one.")
    for target in targets:
        for name in target:
            atlas[name]  # raises for an unknown one
    return targets


def with_strength(edit: Edit, target: Target, strength: float) -> Edit:
    """Return an edit with another strength, without looking its layers up again."""
    return replace(edit, erase=tuple((name, strength) for name in target))
