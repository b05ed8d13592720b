"""Which of an atlas's concepts are meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    from .solved import SolvedAtlas

__all__ = ["chosen_concepts"]


def chosen_concepts(atlas: SolvedAtlas, concepts: Iterable[str] | None) -> list[str]:
    """Return the names of the concepts to measure; None for all."""
    if concepts is None:
        return list(atlas.concepts)
    names = [concepts] if isinstance(concepts, str) else list(concepts)
    if not names:
        raise DataError("concepts names none to measure; leave it out to measure all.")
    for name in names:
        atlas[name]  # raises for an unknown one
    return names
