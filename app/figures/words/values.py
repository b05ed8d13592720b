"""A row of a table said in words."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["say_moved_values"]

_NAMED = 3  # values that are named


def say_moved_values(at: str, moved: Sequence[tuple[str, float, float]]) -> str:
    """Return how a row of a visitor's own differs from the held-out one that it was made of.

    Args:
        at: which held-out input that is.
        moved: name, value there and value here of each feature that differs.
    """
    if not moved:
        return f"your values, the same as in {at}"
    few = ", ".join(f"{name} {here:.4g} (was {there:.4g})" for name, there, here in moved[:_NAMED])
    more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
    return f"{at}, with {few}{more}"
