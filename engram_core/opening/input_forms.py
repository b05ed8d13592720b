"""What inputs in memory look like: pictures, rows of a table, or neither."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..concepts.concepts import ConceptSet
from ..concepts.features import Features
from ..errors import DataError

__all__ = ["features_of", "picture_form"]

_MOST_FEATURES = 64  # more numbers in one input are no table that anybody reads


def _inputs_of(concepts: ConceptSet) -> list[Tensor]:
    """Return all inputs if each concept has them as one tensor; else none."""
    found = [part for each in concepts.values() for part in (each.record, each.probe) if part is not None]
    tensors = [part for part in found if isinstance(part, Tensor)]
    return tensors if len(tensors) == len(found) else []


def picture_form(concepts: ConceptSet) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    """Return height and width, and least and greatest value, of inputs that can be shown as pictures.

    Args:
        concepts: any set.

    Returns:
        Both, or None twice.
    """
    inputs = _inputs_of(concepts)
    if not inputs or not all(part.ndim == 4 and part.is_floating_point() for part in inputs):
        return None, None
    height, width = inputs[0].shape[-2:]
    if inputs[0].shape[1] not in (1, 3) or min(height, width) < 2:
        return None, None
    low = min(float(part.min()) for part in inputs)
    high = max(float(part.max()) for part in inputs)
    return (height, width), (low, high) if high > low else (low, low + 1.0)


def features_of(concepts: ConceptSet, names: Sequence[str] | None) -> Features | None:
    """Return what the numbers of an input are, where an input is one row of them.

    Args:
        concepts: any set.
        names: of the numbers; None if nobody has said them.

    Raises:
        DataError: if there are more or fewer names than numbers.
    """
    inputs = _inputs_of(concepts)
    if not inputs or not all(part.ndim == 2 and part.is_floating_point() for part in inputs):
        return None
    width = inputs[0].shape[1]
    if names is None:
        return Features.plain([f"feature {i + 1}" for i in range(width)]) if width <= _MOST_FEATURES else None
    if len(names) != width:
        raise DataError(f"An input has {width} numbers, and features names {len(names)}.")
    return Features.plain(names) if width <= _MOST_FEATURES else None
