"""The score of every concept under an edit and under its control, portion by portion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial

from torch import nn

import engram_core as ec
from engram_core.editing.change import edit_sizes
from engram_core.editing.edit import Edit
from engram_core.measuring.shams import gaussian_view
from engram_core.measuring.significance import significance

from ..choice.choice import Choice
from ..server.base import Base, portions
from .visitor import edit_key, edit_of, edited_view

__all__ = ["control_steps", "edit_steps", "gaussian_makers", "held_against"]

CONTROL_SEEDS = 5
"""Seeds of the control on Live, unless more are asked for."""


def _score(base: Base, make: Callable[[], nn.Module]) -> Iterator[tuple[float, dict[str, float]]]:
    scores: dict[str, float] = {}
    yield 0.0, scores
    model = make()  # without a turn: it shares nothing, and of many concepts in many layers it is long
    for found in portions(base.facts, base.sample, model, base.facts.classes):
        scores |= found.score
        yield len(scores) / len(base.facts.classes), scores


def edit_steps(base: Base, choice: Choice) -> Iterator[tuple[float, dict[str, float]]]:
    """Score an edit on every concept in portions; yield the share done and what is known so far.

    The view is this run's own: a later click cannot change it midway.
    """
    if not choice.changes:
        return iter([(1.0, base.scores)])
    make = partial(edited_view, base, choice)
    return base.remembered.steps(edit_key(base, choice), partial(_score, base, make))


def gaussian_makers(atlas: ec.Atlas, edit: Edit, seeds: Iterable[int]) -> dict[int, Callable[[], nn.Module]]:
    """Return by seed what makes the Gaussian sham of an edit; its sizes are found once, when first needed."""
    sizes = cache(partial(edit_sizes, atlas, edit))

    def make(seed: int) -> nn.Module:
        return gaussian_view(atlas, edit, seed, sizes=sizes())

    return {seed: partial(make, seed) for seed in seeds}


def control_steps(
    base: Base, choice: Choice, seeds: int | None = None
) -> Iterator[tuple[float, list[dict[str, float]]]]:
    """Score sham edits: random (Gaussian) changes as large as the edit in every layer.

    Yields the share done and the scores of every finished seed; nothing if there is no control. More seeds
    later cost only those that were not there before.
    """
    if not choice.changes:
        return
    atlas = base.variant(choice.power, choice.clip)
    count = seeds or CONTROL_SEEDS
    done: list[dict[str, float]] = []
    for seed, make in gaussian_makers(atlas, edit_of(atlas, choice), range(count)).items():
        key = (edit_key(base, choice), "gaussian", seed)
        for share, scores in base.remembered.steps(key, partial(_score, base, make)):  # noqa: B007
            if share < 1:
                yield (seed + share) / count, done
        done = [*done, scores]
        yield len(done) / count, done


def held_against(
    base: Base, choice: Choice, scores: Mapping[str, float], runs: Sequence[Mapping[str, float]]
) -> tuple[float, float] | None:
    """Return z and p of what an edit takes beyond what the others lose, against sham edits.

    None if nothing is meant to go, or nothing stays, or there are fewer than two shams.
    """
    classes = base.facts.classes
    gone = choice.gone(classes)
    rest = [name for name in classes if name not in gone]
    if not (gone and rest) or len(runs) < 2:
        return None

    def selective(after: Mapping[str, float]) -> float:
        lost = [sum(base.scores[n] - after[n] for n in names) / len(names) for names in (gone, rest)]
        return lost[0] - lost[1]

    *_, z, p = significance(selective(scores), [selective(run) for run in runs])
    return z, p
