"""Find the filter for a fine-tune's memories: the gain by bisection, the power by what the others lose.

The right gain depends on how many memories go at once, since together they are a larger share of the total
(docs/fine-tunes.md). For every power the chosen score moves one way as the gain grows, so that few trials
find the gain at which the chosen ones are just forgotten, or just there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..atlas import Atlas
from ..progress import Step, Steps
from ..solving.filters import Sharpness
from .fine_tune import Direction, Figures, FineTune, Setting

__all__ = ["Found", "POWERS", "search_steps"]

POWERS = (1.0, 2.0, 3.0, 4.0)
"""Of the filters that are tried."""

_FORGOTTEN, _RECALLED = 0.05, 0.90  # of the chosen, on the concepts that the search may see
_GAINS = (0.5, 4096.0)
_HALVINGS = 8  # of the gain's range in octaves: to a twelfth of an octave or so
_KNOWN = 24  # concepts of the base that a trial asks about


@dataclass(frozen=True)
class Found:
    """The setting of a search.

    Attributes:
        setting: the filter.
        figures: what it did on the concepts it was found on.
        trials: how many edits were tried.
    """

    setting: Setting
    figures: Figures
    trials: int


def search_steps(
    fine_tune: FineTune,
    atlas: Atlas,
    direction: Direction,
    draws: Sequence[Sequence[str]],
    *,
    of: str = "fine-tune",
    powers: Sequence[float] = POWERS,
) -> Steps[Found]:
    """Find the filter that erases or composes several draws of concepts at the least loss of the others.

    Args:
        fine_tune: the models, and how they are scored.
        atlas: the engrams.
        direction: ``"erase"`` or ``"compose"``.
        draws: the concepts of each trial.
        of: see `Setting`.
        powers: of the filters that are tried.

    Yields:
        Where the search stands, with the best so far.

    Returns:
        The setting.
    """
    trials, best = 0, None
    total = len(powers) * (_HALVINGS + 1)
    before = fine_tune.known_score(fine_tune.base, _KNOWN)
    for place, power in enumerate(powers):
        low, high = (math.log2(gain) for gain in _GAINS)
        what = f"μ^{power:g}"
        for halving in range(_HALVINGS):
            yield Step(place * (_HALVINGS + 1) + halving, total, what, best)
            middle = (low + high) / 2
            sharp = Sharpness(power, True, 2**middle)
            scores = [fine_tune.score(fine_tune.edited(atlas, sharp, direction, n), n) for n in draws]
            trials += len(draws)
            score = sum(scores) / len(scores)
            enough = score <= _FORGOTTEN if direction == "erase" else score >= _RECALLED
            low, high = (low, middle) if enough else (middle, high)
        # The least gain that was enough; where none was, the greatest that was tried.
        sharp = Sharpness(power, True, round(2**high, 3))
        yield Step(place * (_HALVINGS + 1) + _HALVINGS, total, what, best)
        found = [
            fine_tune.figures(fine_tune.edited(atlas, sharp, direction, names), names, known=_KNOWN)
            for names in draws
        ]
        trials += len(draws)
        figures = Figures.mean(found)
        if best is None or _missed(figures, direction, before) < _missed(best.figures, direction, before):
            best = Found(Setting(sharp, of), figures, trials)
    assert best is not None
    yield Step(total, total, "found", best)
    return Found(best.setting, best.figures, trials)


def _missed(figures: Figures, direction: Direction, before: float | None) -> float:
    """Return how far figures are from perfect: the errors of the three groups in sum."""
    erased = direction == "erase"
    missed = figures.chosen if erased else 1 - figures.chosen
    if figures.other_new is not None:
        missed += 1 - figures.other_new if erased else figures.other_new
    if figures.old is not None and before is not None:
        missed += 5 * max(0.0, before - figures.old)  # a point of what was known weighs five of what is new
    return missed
