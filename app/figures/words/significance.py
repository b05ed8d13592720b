"""How sure a selective effect is, in words: z and p against random edits of the same size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass

__all__ = ["say_test"]

_MOST_Z = 100  # above it the size of z says nothing more


def say_test(held: tuple[float, float] | None, seeds: int) -> str:
    """Say z and p of a selective effect, and what they mean; "" without."""
    if held is None or np.isnan(held[1]):
        return ""
    z, p = held
    # Five shams that all do nothing have hardly any spread, and z then says that and no more.
    many = f"beyond {_MOST_Z}" if abs(z) > _MOST_Z else f"{z:.1f}".replace("-", "−")
    least = 1 / (1 + seeds)
    only = f" (minimum with {seeds} seeds)" if p <= least else f" (at least {least:.3f} with {seeds} seeds)"
    return f" Against {seeds} random edits: z = {many}, p = {p:.3f}{only}."
