"""Scores of edited models, concept by concept: part by part, remembered, and how selective an edit was."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Scores, Subject
from ..editing.change import edit_sizes
from ..editing.edit import Edit
from ..editing.live_edit import apply_edit, live_edit
from ..errors import DataError
from ..numerics.precision import exactly
from ..progress import Memory, Recent, Step, Steps, nested, once
from .options import check_subject
from .shams import gaussian_view

__all__ = [
    "Effect",
    "Parts",
    "Scorer",
    "answered_with",
    "imitated",
    "score_steps",
    "selective_effect",
    "selective_loss",
]

Effect = Literal["loss", "gain"]

Parts = Callable[[list[str]], Iterable[list[str]]]
"""Divides concepts into as many as are scored in one step."""


@exactly
def score_steps(
    subject: Subject, model: nn.Module, names: Iterable[str], *, parts: Parts | None = None
) -> Steps[Scores]:
    """Score a model on some concepts in steps.

    Args:
        subject: whose task scores, on whose concepts.
        model: the subject's model, or a view of it.
        names: the concepts that are scored.
        parts: how they are divided; default all in one step.

    Yields:
        The scores so far.

    Returns:
        The scores.
    """
    left = list(names)
    found = Scores({}, {}, {})
    for part in [left] if parts is None else parts(left):
        yield Step(len(found.score), len(left), "scoring", found)
        found = _joined(found, subject.task.measure(model, subject.concepts, part))
    return found


def _joined(first: Scores, second: Scores) -> Scores:
    if not first.score:
        return second
    details = {name: dict(values) for name, values in first.details.items()}
    for name, values in second.details.items():
        details.setdefault(name, {}).update(values)
    return Scores({**first.score, **second.score}, {**first.says, **second.says}, details)


class Scorer:
    """Scores edits of one atlas in steps, and never again what is remembered.

    All edits take turns in one view: nothing is solved or copied for the next one.

    Args:
        subject: model, concepts, task.
        atlas: engrams of the subject's model; its sharpness applies.
        parts: how the concepts scored for one edit are divided; default all in one step.
        memory: of results of this subject's model; default one of its own.

    Raises:
        ModelMismatchError: if the atlas is of another model.
    """

    def __init__(
        self, subject: Subject, atlas: Atlas, *, parts: Parts | None = None, memory: Memory | None = None
    ) -> None:
        check_subject(subject, atlas)
        self.subject, self.atlas = subject, atlas
        self._parts = parts
        self._memory: Memory = Recent() if memory is None else memory
        self._view: nn.Module | None = None
        self._sizes: tuple[Edit, dict[str, float]] | None = None

    def base(self, probes: Sequence[str]) -> Steps[Scores]:
        """Score the model itself."""
        return self._scored(("base",), lambda: self.subject.model, probes)

    def edit(self, edit: Edit, probes: Sequence[str]) -> Steps[Scores]:
        """Score the model under an edit."""
        return self._scored(("edit", edit), lambda: self._edited(edit), probes)

    def gaussian(self, edit: Edit, seed: int, probes: Sequence[str]) -> Steps[Scores]:
        """Score the model under a random change as large as an edit in every layer."""
        return self._scored(("gaussian", edit, seed), lambda: self._gaussian(edit, seed), probes)

    @exactly
    def subset(
        self,
        edit: Edit,
        name: str,
        size: int,
        probes: Sequence[str],
        record: Callable[[], Generator[Step[Any], None, Atlas]],
    ) -> Steps[Scores]:
        """Score the model under the engram of a random subset, used exactly as an edit uses the concept's.

        Args:
            edit: of one concept.
            name: of the subset.
            size: inputs in it.
            probes: what is scored.
            record: makes the atlas that holds it, if its score is not remembered.

        Returns:
            The work, whose result is the scores.

        Yields:
            Where the scoring stands.
        """
        there = imitated(edit, name)
        atlas: Atlas | None = None

        def make() -> nn.Module:
            assert atlas is not None
            return apply_edit(atlas, there, self.subject.model)

        def work() -> Steps[Scores]:
            nonlocal atlas
            atlas = yield from nested(record(), size=0, total=len(probes))
            return (yield from self._model_scored(make, probes))

        return (yield from once(self._memory, self._key(("subset", there, size), probes), work))

    @exactly
    def _scored(
        self, key: tuple[Any, ...], make: Callable[[], nn.Module], probes: Sequence[str]
    ) -> Steps[Scores]:
        return (
            yield from once(self._memory, self._key(key, probes), lambda: self._model_scored(make, probes))
        )

    def _key(self, key: tuple[Any, ...], probes: Sequence[str]) -> tuple[Any, ...]:
        return ("scores", self.atlas.sharpness, *key, tuple(probes))

    def _model_scored(self, make: Callable[[], nn.Module], probes: Sequence[str]) -> Steps[Scores]:
        # Of many concepts in many layers an edit is long; it shares nothing that others wait for.
        yield Step(0, len(probes), "editing", Scores({}, {}, {}), long=True)
        return (yield from score_steps(self.subject, make(), probes, parts=self._parts))

    def _edited(self, edit: Edit) -> nn.Module:
        if self._view is None:
            self._view = apply_edit(self.atlas, edit, self.subject.model)
        else:
            live_edit(self._view).set(edit)
        return self._view

    def _gaussian(self, edit: Edit, seed: int) -> nn.Module:
        if self._sizes is None or self._sizes[0] != edit:
            self._sizes = edit, edit_sizes(self.atlas, edit)
        return gaussian_view(self.atlas, edit, seed, model=self.subject.model, sizes=self._sizes[1])


def imitated(edit: Edit, name: str) -> Edit:
    """Return an edit that uses another engram exactly as this one uses its concept's.

    Raises:
        DataError: for keeping in place, which the overlap of the other concepts makes unlike any subset's.
    """
    if edit.keep is not None and not edit.from_nothing:
        raise DataError(
            "A random subset kept in place has no counterpart, because the other concepts overlap it. "
            "Use null='nothing' for its control, or controls=0."
        )
    if edit.keep is None:
        return replace(edit, erase=((name, edit.erase[0][1]),))
    return replace(edit, keep=((name, edit.keep[0][1]),))


def answered_with(scores: Scores, probe: str, concept: str) -> float:
    """Return the share of a probe's inputs answered with a concept; NaN if the task cannot say."""
    said = scores.says.get(probe)
    return math.nan if said is None else said.get(concept, 0.0)


def selective_effect(scores: Scores, base: Mapping[str, float], concept: str, effect: Effect) -> float:
    """Return how much more a concept itself is affected than the others are on average.

    An edit that destroys the model loses everything, the concept too; this is what it cannot imitate.

    Args:
        scores: of the edited model, on the concept and others.
        base: the base model's score of each of them.
        concept: which one is erased, or kept alone.
        effect: ``"loss"``: its own loss less the others' mean loss; ``"gain"``: its own score less the mean
            share of the others' inputs answered with it, or, from a task that cannot say what was
            answered, less the others' mean score.

    Returns:
        The effect; NaN if the concept or the others were not scored.
    """
    others = [probe for probe in scores.score if probe != concept]
    if concept not in scores.score or not others:
        return math.nan
    if effect == "loss":
        return selective_loss(scores.score, base, [concept])
    against = [answered_with(scores, p, concept) if scores.says else scores.score[p] for p in others]
    return scores.score[concept] - float(np.mean(against))


def selective_loss(scores: Mapping[str, float], base: Mapping[str, float], erased: Iterable[str]) -> float:
    """Return the mean loss of what was erased less the mean loss of the others.

    Args:
        scores: of the edited model.
        base: the base model's score of each concept in `scores`.
        erased: concepts that were erased together.

    Returns:
        The difference; NaN if nothing was erased, or nothing is left beside it.
    """
    lost = {name: base[name] - value for name, value in scores.items()}
    names = set(erased)
    gone = [value for name, value in lost.items() if name in names]
    rest = [value for name, value in lost.items() if name not in names]
    return float(np.mean(gone) - np.mean(rest)) if gone and rest else math.nan
