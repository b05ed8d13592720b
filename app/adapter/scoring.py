"""The score of every concept under an edit and under its control, portion by portion."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from torch import nn

from engram_core.controls import gaussian_view

from ..choice import Choice
from .base import HEAVY, Base, chunks
from .visitor import Visitor, edit_key, edit_of

__all__ = ["control_steps", "edit_steps", "score_steps"]

CONTROL_SEEDS = 5


def score_steps(base: Base, model: nn.Module, key: Hashable) -> Iterator[tuple[float, dict[str, float]]]:
    """Score a model on every concept in portions; yield the share done and what is known so far.

    A page can stop between portions when its visitor has moved on. Only whole results are remembered.
    """
    scores = base.remembered.get(key)
    if scores is None:
        scores = {}
        yield 0.0, scores
        for names in chunks(base.facts):
            with HEAVY:
                scores |= base.sample.task.measure(model, base.sample.concepts, names).score
            if len(scores) < len(base.facts.classes):
                yield len(scores) / len(base.facts.classes), scores
        base.remembered.put(key, scores)
    yield 1.0, scores


def edit_steps(base: Base, visitor: Visitor, choice: Choice) -> Iterator[tuple[float, dict[str, float]]]:
    """Score an edit; see `score_steps`. The view is this run's own: a later click cannot change it midway."""
    if not choice.changes:
        return iter([(1.0, base.scores)])
    atlas = base.variant(choice.power, choice.clip)
    key = edit_key(atlas, choice)
    known = base.remembered.get(key)
    if known is not None:
        return iter([(1.0, known)])
    return score_steps(base, visitor.own_view(choice), key)


def control_steps(base: Base, choice: Choice) -> Iterator[tuple[float, list[dict[str, float]]]]:
    """Score sham edits: random (Gaussian) changes as large as the edit in every layer.

    Yields the share done and the scores of every finished seed; nothing if there is no control.
    """
    if not choice.changes:
        return
    atlas = base.variant(choice.power, choice.clip)
    edit, done = edit_of(atlas, choice), []  # type: ignore[var-annotated]
    for seed in range(CONTROL_SEEDS):
        key = (edit_key(atlas, choice), "gaussian", seed)
        scores = base.remembered.get(key)
        if scores is None:
            with HEAVY:
                sham = gaussian_view(atlas, edit, seed)
            for share, scores in score_steps(base, sham, key):  # noqa: B007
                if share < 1:
                    yield (seed + share) / CONTROL_SEEDS, done
        assert scores is not None
        done = [*done, scores]
        if seed + 1 < CONTROL_SEEDS:
            yield (seed + 1) / CONTROL_SEEDS, done
    yield 1.0, done
