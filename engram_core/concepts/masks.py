"""Masks: which inputs of a concept count, or which positions of an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .batch import Batch, Key
from .row_axes import prefix

__all__ = ["as_mask", "is_one_tower", "lies_along", "no_mask", "positions_of"]


def as_mask(value: Any, concept: str) -> Tensor:
    """Return a mask as a tensor.

    Args:
        value: a tensor or an array of true and false.
        concept: its name, for the message.

    Raises:
        DataError: if it is neither, or holds NaN.
    """
    try:
        mask = value.to_dense() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError, RuntimeError):
        raise no_mask(value, concept) from None
    if mask.is_floating_point() and bool(mask.isnan().any()):
        raise DataError(f"Concept {concept!r}: its mask holds NaN, which says neither yes nor no.")
    return mask


def no_mask(value: Any, concept: str) -> DataError:
    """Return the error for something that is given as a mask and is none.

    Args:
        value: what was given.
        concept: its name.
    """
    return DataError(
        f"Concept {concept!r}: a mask is a tensor or an array of true and false, or one for every batch; "
        f"found {type(value).__name__}."
    )


def positions_of(batch: Batch, key: Key) -> int | None:
    """Return how many positions an argument has; None if it has none.

    Args:
        batch: the call.
        key: the argument.
    """
    value = dict(batch.items())[key]
    place = 1 - int(batch.cut.axis or 0)
    return int(value.shape[place]) if isinstance(value, Tensor) and value.ndim > 1 else None


def is_one_tower(batch: Batch, names: Mapping[Key, str]) -> bool:
    """Return whether all of a batch's tensors belong to one tower, by their names; masks do not count.

    Args:
        batch: the call.
        names: of all arguments.
    """
    tensors = [names[k] for k, v in batch.items() if isinstance(v, Tensor)]
    return len({prefix(name) for name in tensors if not name.endswith("mask")}) < 2


def lies_along(batch: Batch, key: Key) -> bool:
    """Return whether an argument has one part per input.

    Args:
        batch: the call.
        key: the argument.
    """
    return batch.cut.along is None or key in batch.cut.along
