"""What an edit forgot and kept, in four numbers, beside random edits of the same size."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from engram_core.measuring.scores import Scorer
from engram_core.progress import Step, nested, once
from engram_core.solving.similarity import EngramCosines, engram_cosines_steps

from ..choice.choice import Choice
from ..figures.words.strip import Strip
from ..server.base import Base
from ..server.fair_lock import lock_each_step
from .edited_view import edit_of

__all__ = ["measure_strip", "strip_of"]

_EVERY = 40  # concepts up to which a small model is asked about all of them
_GONE, _NEAR, _DRAWN = 8, 6, 10
_SLOW_GONE, _SLOW_DRAWN = 2, 4


def strip_of(
    base: Base,
    choice: Choice,
    scores: Mapping[str, float],
    runs: Sequence[Mapping[str, float]],
    *,
    wanted: int,
    drawn: tuple[str, ...] | None = None,
) -> Strip:
    """Return the four numbers of an edit from scores that are there already.

    Args:
        base: the model.
        choice: the edit.
        scores: of the edited model, on some concepts.
        runs: the same of random edits of the same size, a seed each.
        wanted: random edits that are to be measured in all.
        drawn: those of the others that were drawn at random; None if all were asked.
    """
    facts = base.facts
    return Strip(
        base={name: base.scores[name] for name in scores}, edited=dict(scores), runs=tuple(runs),
        gone=choice.gone(facts.classes), concepts=len(facts.classes), counts=facts.held_out, wanted=wanted,
        what="concept" if base.is_text else "class", probe=base.probe, unit=base.sample.task.unit,
        drawn=drawn,
    )  # fmt: skip


def measure_strip(base: Base, choice: Choice, seeds: int) -> Generator[Step[Strip], None, Strip]:
    """Measure the four numbers on all concepts of a small model, or on a few of a large one.

    Of many concepts these are asked: those that the edit takes away, some drawn at random, and those whose
    engrams are most like what goes, where damage is to be expected.

    Args:
        base: the model.
        choice: the edit.
        seeds: random edits of the same size.

    Returns:
        The numbers.

    Yields:
        Where the work stands, with the numbers so far.
    """
    scores: Mapping[str, float] = {}
    runs: list[Mapping[str, float]] = []

    def so_far() -> Strip:
        return strip_of(base, choice, scores, runs, wanted=seeds, drawn=drawn)

    drawn: tuple[str, ...] | None = None
    if not choice.changes:
        return so_far()
    names, drawn = yield from _names(base, choice)
    atlas = base.variant(choice.power, choice.clip)
    scorer = Scorer(base.sample, atlas, parts=base.parts, memory=base.remembered)
    edit = edit_of(atlas, choice)
    found = yield from lock_each_step(scorer.edit(edit, names))
    scores = found.score
    for seed in range(seeds):
        yield Step(seed, seeds, "Random edits of the same size", so_far())
        work = lock_each_step(scorer.gaussian(edit, seed, names))
        runs.append((yield from nested(work, done=seed, total=seeds, partial=so_far())).score)
    return so_far()


def _names(
    base: Base, choice: Choice
) -> Generator[Step[Any], None, tuple[tuple[str, ...], tuple[str, ...] | None]]:
    """Return the concepts that are asked, and which of the others were drawn at random.

    Yields:
        Where the search for neighbours stands.
    """
    classes, slow = base.facts.classes, base.facts.slow
    if len(classes) <= _EVERY and not slow:
        return classes, None
    most_gone, most_near, most_drawn = (_SLOW_GONE, 0, _SLOW_DRAWN) if slow else (_GONE, _NEAR, _DRAWN)
    # One order for a model, so that another edit is asked about the same others.
    order = random.Random(0).sample(classes, len(classes))
    gone = set(choice.gone(classes))
    stay = [name for name in order if name not in gone]
    if choice.keeps:  # what is kept is all that stays, and nearly everything goes
        first, drawn = [name for name in order if name in gone][:most_drawn], stay[:most_gone]
        near: list[str] = []
    else:
        first = [name for name in choice.concepts if name in gone][:most_gone]
        drawn = stay[:most_drawn]
        near = (yield from _nearest(base, first, stay, most_near)) if first and most_near else []
    asked = {*first, *drawn, *near}
    return tuple(name for name in classes if name in asked), tuple(drawn)


def _nearest(
    base: Base, names: list[str], others: list[str], most: int
) -> Generator[Step[Any], None, list[str]]:
    """Return the others whose engrams in the last layer are most like those of some concepts.

    Over all layers the neighbours are nearly the same, and they take as many times longer.

    Yields:
        Where the comparison stands.
    """
    layer = base.atlas.layers[-1]
    found: EngramCosines = yield from lock_each_step(
        once(base.remembered, ("cosines", layer), lambda: engram_cosines_steps(base.atlas, layer))
    )
    place = {name: at for at, name in enumerate(found.concepts)}
    rows = np.asarray(found.cosines)[[place[name] for name in names]]
    like = rows.max(0)
    return sorted(others, key=lambda name: -like[place[name]])[:most]
