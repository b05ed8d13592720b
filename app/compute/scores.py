"""The score of every concept under an edit and under its control."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from engram_core.concepts.tasks import Scores
from engram_core.measuring.scores import Scorer, selective_loss
from engram_core.measuring.significance import significance
from engram_core.progress import Step, nested

from ..choice.choice import Choice
from ..server.base import Base
from ..server.fair_lock import lock_each_step
from .edited_view import edit_of

__all__ = ["CONTROL_SEEDS", "measure_edit", "score_controls", "score_edit", "z_and_p"]

CONTROL_SEEDS = 5
"""Seeds of the control on Live, unless more are asked for."""


def _scorer(base: Base, choice: Choice) -> Scorer:
    atlas = base.variant(choice.power, choice.clip)
    # A view of its own: a later click cannot change it midway.
    return Scorer(base.sample, atlas, parts=base.parts, memory=base.remembered)


def measure_edit(
    base: Base, choice: Choice, probes: Sequence[str] | None = None
) -> Generator[Step[Scores], None, Scores]:
    """Score an edit on some concepts, with what the model says to each.

    Args:
        base: the model.
        choice: the edit.
        probes: concepts that are scored; default all.

    Returns:
        The scores and the answers.

    Yields:
        Where the work stands, with the scores so far.
    """
    scorer = _scorer(base, choice)
    edit = edit_of(scorer.atlas, choice)
    return (yield from lock_each_step(scorer.edit(edit, tuple(probes or base.facts.classes))))


def score_edit(base: Base, choice: Choice) -> Generator[Step[Scores], None, dict[str, float]]:
    """Score an edit on every concept."""
    if not choice.changes:
        return base.scores
    return (yield from measure_edit(base, choice)).score


def score_controls(
    base: Base, choice: Choice, seeds: int | None = None
) -> Generator[Step[list[dict[str, float]]], None, list[dict[str, float]]]:
    """Score sham edits: random (Gaussian) changes as large as the edit in every layer.

    Returns the scores of every seed; nothing if there is no control. More seeds later cost only those that
    were not there before.

    Returns:
        The scores of every seed.

    Yields:
        Where the work stands, with the scores so far.
    """
    runs: list[dict[str, float]] = []
    if not choice.changes:
        return runs
    scorer, count = _scorer(base, choice), seeds or CONTROL_SEEDS
    edit = edit_of(scorer.atlas, choice)
    for seed in range(count):
        work = lock_each_step(scorer.gaussian(edit, seed, base.facts.classes))
        scores = yield from nested(work, done=seed, total=count, partial=list(runs))
        runs.append(scores.score)
    return runs


def z_and_p(
    base: Base, choice: Choice, scores: Mapping[str, float], runs: Sequence[Mapping[str, float]]
) -> tuple[float, float] | None:
    """Return z and p of what an edit takes beyond what the others lose, against sham edits.

    None if nothing is meant to go, or nothing stays, or there are fewer than two shams.
    """
    gone = choice.gone(base.facts.classes)
    if not gone or len(gone) == len(base.facts.classes) or len(runs) < 2:
        return None
    effect, *shams = (selective_loss(after, base.scores, gone) for after in (scores, *runs))
    *_, z, p = significance(effect, shams)
    return z, p
