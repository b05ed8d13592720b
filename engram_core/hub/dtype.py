"""The type of the weights that a model is loaded in."""

from __future__ import annotations

import torch

from ..errors import DataError

__all__ = ["torch_type"]


def torch_type(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype | str:
    """Return the torch type that is meant by what was given.

    Args:
        dtype: a type, its name, or None for float32 on a CPU and the type they are stored in elsewhere.
        device: where the model goes.

    Returns:
        The type; ``"auto"`` for the stored one.

    Raises:
        DataError: if it is no floating-point type of at least two bytes.
    """
    if dtype is None:
        return torch.float32 if device.type == "cpu" else "auto"
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point or found.itemsize < 2:
        raise DataError(f"dtype must be float32, bfloat16, float16 or float64; found {dtype!r}.")
    return found
