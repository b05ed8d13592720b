"""What the measurements share: options checked before long work, and concepts drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError, ModelMismatchError

__all__ = ["check_options", "check_subject", "draw_concepts", "draw_others"]


def check_options(controls: int, strength: float = 1.0) -> None:
    """Refuse what would fail only after minutes of measuring."""
    if controls < 0 or controls == 1:
        raise DataError(f"controls must be 0, or at least 2 for a spread; found {controls}.")
    try:
        finite = math.isfinite(strength)
    except TypeError:
        finite = False
    if not finite:
        raise DataError(f"The strength must be a finite number; found {strength!r}.")


def check_subject(subject: Subject, atlas: Atlas) -> None:
    """Raise ModelMismatchError unless the atlas was made from the subject's model."""
    try:
        atlas.identity.check(subject.model)
    except ModelMismatchError as error:
        raise ModelMismatchError(f"The atlas and the subject do not belong together. {error}") from None


def draw_concepts(
    concepts: Iterable[str], count: int, *, seed: int | Sequence[int] = 0, without: Iterable[str] = ()
) -> list[str]:
    """Draw names at random, in their own order.

    Args:
        concepts: names to draw from.
        count: how many.
        seed: of the draw.
        without: names that must not be drawn, such as those a rule was found on.

    Returns:
        The drawn names.

    Raises:
        DataError: if there are not so many.
    """
    left_out = set(without)
    names = [name for name in concepts if name not in left_out]
    if not 1 <= count <= len(names):
        raise DataError(f"Cannot draw {count} concepts: there are {len(names)} to draw from.")
    chosen = np.random.default_rng(seed).choice(len(names), count, replace=False)
    return [names[i] for i in sorted(chosen)]


def draw_others(
    names: Iterable[str],
    chosen: Iterable[str],
    count: int | None,
    *,
    seed: int | Sequence[int],
    option: str = "others",
) -> list[str]:
    """Return the names that are not chosen: all of them, or so many drawn at random, in their own order.

    Args:
        names: the concepts there are.
        chosen: those to leave out.
        count: how many at most; None for all.
        seed: of the draw.
        option: what the caller calls `count`.

    Raises:
        DataError: if `count` is below 1.
    """
    if count is not None and count < 1:
        raise DataError(f"{option} must be 1 or more, or None for all; found {count}.")
    left_out = set(chosen)
    rest = [name for name in names if name not in left_out]
    return rest if count is None or count >= len(rest) else draw_concepts(rest, count, seed=seed)
