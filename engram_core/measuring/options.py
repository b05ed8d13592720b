"""What the criteria share: options checked before long work, and shams set beside a measured table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError, ModelMismatchError
from ..progress import Progress
from ..solving.choosing import chosen_concepts
from .shams import significance, subset_atlas

__all__ = [
    "CONTROL_SEEDS",
    "SHAMS",
    "TAILS",
    "add_control",
    "check_options",
    "check_subject",
    "draw_concepts",
    "draw_others",
    "subset_shams",
]

CONTROL_SEEDS = 20
SHAMS = ("gaussian", "subset")
TAILS = {"mean": "", "sd": "_sd", "z": "_z", "p": "_p"}


def subset_shams(
    subject: Subject,
    atlas: Atlas,
    seeds: Sequence[int],
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Atlas]:
    """Return, for every concept, the atlas of random subsets of its size (empty without seeds).

    Concepts of one size share one atlas.
    """
    if not seeds:
        return {}
    by_size: dict[int, Atlas] = {}
    found = {}
    for concept in chosen_concepts(atlas, concepts):
        size = atlas.counts[concept]
        if size not in by_size:
            by_size[size] = subset_atlas(atlas, subject.concepts, size=size, seeds=seeds, progress=progress)
        found[concept] = by_size[size]
    return found


def add_control(
    frame: pd.DataFrame, label: str, effect: np.ndarray, shams: Sequence[np.ndarray], *, falls: bool = False
) -> None:
    """Add mean, _sd, _z and _p of shams to a table; with `falls`, a lower value is the stronger effect."""
    sign = -1.0 if falls else 1.0
    table = np.stack(shams)
    found = [significance(sign * e, sign * table[:, i]) for i, e in enumerate(effect)]
    frame[label] = [sign * mean for mean, *_ in found]
    frame[f"{label}_sd"] = [deviation for _, deviation, *_ in found]
    frame[f"{label}_z"] = [z for *_, z, _ in found]
    frame[f"{label}_p"] = [p for *_, p in found]


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
