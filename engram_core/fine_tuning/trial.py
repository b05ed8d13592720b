"""Erase and compose one, some and all memories of a fine-tune, at settings found on others of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..atlas import Atlas
from ..errors import DataError
from ..progress import Progress, Step, drain, nested
from .fine_tune import Direction, Figures, FineTune
from .search import Found, search_steps

__all__ = ["Row", "Trial", "try_fine_tune", "try_fine_tune_steps"]

_DRAWS = {1: 4}  # how many draws of one concept; two of more
_FORMS: tuple[tuple[str, Direction, str], ...] = (
    ("erase", "erase", "fine-tune"),
    ("compose", "compose", "fine-tune"),
    ("erase_from_weights", "erase", "weights"),
)


@dataclass(frozen=True)
class Row:
    """One form and number of memories.

    Attributes:
        count: how many concepts went, or came, at once.
        figures: the means over the draws it was confirmed on.
        found: the setting, and what it did on the concepts it was found on.
        confirmed_on: the draws; none of their concepts took part in the search, unless `all_of_them`.
        all_of_them: whether these are all concepts, so that none was left to search on.
    """

    count: int
    figures: Figures
    found: Found
    confirmed_on: tuple[tuple[str, ...], ...]
    all_of_them: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON can hold it."""
        return {
            "count": self.count,
            **self.figures.to_dict(),
            "setting": self.found.setting.to_dict(),
            "found_on_others": not self.all_of_them,
            "draws": len(self.confirmed_on),
            "trials": self.found.trials,
        }


@dataclass(frozen=True)
class Trial:
    """What a fine-tune's engrams do.

    Attributes:
        before: the base, as if every concept were chosen.
        after: the fine-tuned model.
        rows: by form: ``"erase"``, ``"compose"``, and for comparison ``"erase_from_weights"``.
    """

    before: Figures
    after: Figures
    rows: dict[str, tuple[Row, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as JSON can hold it."""
        forms = {form: [row.to_dict() for row in rows] for form, rows in self.rows.items()}
        return {"base": self.before.to_dict(), "fine_tuned": self.after.to_dict(), **forms}


def try_fine_tune(
    fine_tune: FineTune,
    *,
    atlases: dict[str, Atlas] | None = None,
    counts: Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trial:
    """Erase and compose one, eight and all memories of a fine-tune.

    Args:
        fine_tune: the models, and how they are scored.
        atlases: from `FineTune.atlases`, if that was called before.
        counts: how many at once; default 1, 8 and all.
        seed: of the draws.
        progress: called with (done, total, text).

    Returns:
        What became of the chosen ones, of the others, and of what the base knew.

    Raises:
        DataError: for a count that the fine-tune has not.
    """
    atlases = atlases or fine_tune.atlases(progress)
    return drain(try_fine_tune_steps(fine_tune, atlases, counts=counts, seed=seed), progress)


def try_fine_tune_steps(
    fine_tune: FineTune,
    atlases: dict[str, Atlas],
    *,
    counts: Sequence[int] | None = None,
    seed: int = 0,
) -> Generator[Step[Any], None, Trial]:
    """Do what `try_fine_tune` does in steps.

    Args:
        fine_tune: the models, and how they are scored.
        atlases: from `FineTune.atlases`.
        counts: how many at once.
        seed: of the draws.

    Yields:
        Where the trial stands.

    Returns:
        The trial.
    """
    names = list(fine_tune.subject.concepts)
    wanted = sorted({n for n in (1, 8, len(names)) if n <= len(names)} if counts is None else set(counts))
    for count in wanted:
        if not 1 <= count <= len(names):
            raise DataError(f"The fine-tune has {len(names)} concepts; found a count of {count}.")
    total = len(_FORMS) * len(wanted)
    rows: dict[str, list[Row]] = {form: [] for form, *_ in _FORMS}
    for place, (form, direction, of) in enumerate(_FORMS):
        for number, count in enumerate(wanted):
            draws, others = _draws(names, count, seed)
            work = search_steps(fine_tune, atlases[of], direction, others, of=of)
            done = place * len(wanted) + number
            what = f"{direction} {count}"
            found = yield from nested(work, done=done, total=total, what=what)
            sharp = found.setting.sharpness
            figures = [
                fine_tune.figures(fine_tune.edited(atlases[of], sharp, direction, draw), draw)
                for draw in draws
            ]
            drawn = tuple(tuple(draw) for draw in draws)
            rows[form].append(Row(count, Figures.mean(figures), found, drawn, draws == others))
            yield Step(done + 1, total, what)
    before, after = (fine_tune.figures(m, names) for m in (fine_tune.base, fine_tune.subject.model))
    return Trial(before, after, {form: tuple(found) for form, found in rows.items()})


def _draws(names: Sequence[str], count: int, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return draws to confirm on and draws to search on, without a concept in common where that can be."""
    if 2 * count > len(names):
        every = [sorted(names)] if count == len(names) else [_some(names, count, seed)]
        return every, every
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    half = len(order) // 2
    most = _DRAWS.get(count, 2)
    parts = []
    for side in (order[:half], order[half:]):
        parts.append([side[i : i + count] for i in range(0, len(side) - count + 1, count)][:most])
    return parts[0], parts[1]


def _some(names: Sequence[str], count: int, seed: int) -> list[str]:
    return [names[i] for i in sorted(np.random.default_rng(seed).choice(len(names), count, replace=False))]
