"""The four criteria: what is measured, and the core's steps for it."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from engram_core.concepts.tasks import Scores, Subject
from engram_core.errors import EngramError
from engram_core.measuring.function import FunctionScores, function_steps
from engram_core.measuring.layer_responses import responses_steps
from engram_core.measuring.significance import SHAMS as KINDS
from engram_core.progress import Step, Steps

from ..choice.choice import ERASE, FROM_NOTHING, KEEP, Choice, Facts
from ..server.base import Base
from ..server.fair_lock import lock_each_step
from .edited_view import edit_of

__all__ = [
    "MANY",
    "SHAMS",
    "Function",
    "Selection",
    "key_of",
    "measure_function",
    "measure_responses",
    "selection",
    "subject_of",
]

SHAMS = 3
"""Seeds of each kind of control on a page, unless more are asked for."""

MANY = 20
"""Seeds for a test (docs/science.md section 7); the core's own default."""

_EVERY = 16  # concepts up to which all are measured
_EDITED, _PROBED = 12, 24


@dataclass(frozen=True)
class Selection:
    """Which concepts are measured.

    Attributes:
        edited: whose engrams are used.
        probed: whose inputs are tested; begins with `edited`.
        every: whether those are all there are.
    """

    edited: tuple[str, ...]
    probed: tuple[str, ...]
    every: bool


def selection(facts: Facts, chosen: tuple[str, ...], seed: int = 0) -> Selection:
    """Return all concepts of a small model; of a large one the chosen ones and some drawn at random."""
    if len(facts.classes) <= _EVERY:
        return Selection(facts.classes, facts.classes, True)
    # One order for a model, so that choosing another concept changes one row and not all.
    order = random.Random(seed).sample(facts.classes, len(facts.classes))
    first = chosen[:_EDITED]
    names = [*first, *(name for name in order if name not in first)]
    return Selection(tuple(names[:_EDITED]), tuple(names[:_PROBED]), False)


def subject_of(base: Base, names: tuple[str, ...]) -> Subject:
    """Return the model with some of its concepts as the only probes."""

    def make() -> Subject:
        sample = base.sample
        return Subject(sample.model, sample.concepts.subset(names), sample.task)

    return base.remembered.made(("subject", names), make)


def key_of(choice: Choice, concept: str, criterion: str, null: str) -> Choice:
    """Return the edit that a row of a criterion stands for, as a choice."""
    if criterion == "sufficiency":
        # As `ec.criteria` has it: keeping is at strength 1 and plain.
        return replace(
            choice,
            mode=KEEP,
            concepts=(concept,),
            null=null,
            strength=1.0,
            single_strengths=(),
            scaling="plain",
        )
    strength = choice.strengths.get(concept, choice.strength)
    erased = replace(choice, mode=ERASE, concepts=(concept,), null=FROM_NOTHING, strength=strength)
    return replace(erased, single_strengths=())


@dataclass(frozen=True)
class Function:
    """Necessity or sufficiency as it is measured.

    Attributes:
        scores: under every edit and its shams.
        refused: why there is no random subset, in words.
    """

    scores: FunctionScores
    refused: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """One row per edited concept and probe: concept, probe, score, base, delta, says, selective."""
        return self.scores.table()[["concept", "probe", "score", "base", "delta", "says", "selective"]]

    @property
    def tests(self) -> pd.DataFrame:
        """Selective effects against their shams; see `FunctionScores.tests`."""
        return self.scores.tests()

    def effects(self, kind: str) -> list[list[float]]:
        """Return the selective effects of the single shams of a kind, by concept."""
        return [self.scores.selective_shams(kind, name) for name in self.scores.edited]


def measure_function(
    base: Base, choice: Choice, criterion: str, null: str, chosen: Selection, *, controls: int
) -> Generator[Step[FunctionScores], None, Function]:
    """Measure necessity or sufficiency, and then its controls.

    Args:
        base: the model.
        choice: its strength, scaling, sharpness and layers count.
        criterion: "necessity" or "sufficiency".
        null: what keeping starts from.
        chosen: which concepts.
        controls: seeds of each kind of sham.

    Returns:
        The effect, with its controls.

    Yields:
        Where the work stands, with the scores so far.
    """
    atlas = base.variant(choice.power, choice.clip)
    edits = {name: edit_of(atlas, key_of(choice, name, criterion, null)) for name in chosen.edited}
    # In place the concepts that are subtracted overlap every random subset.
    subsets = criterion == "necessity" or null == FROM_NOTHING

    def work(kinds: tuple[str, ...]) -> Steps[FunctionScores]:
        return lock_each_step(
            function_steps(
                subject_of(base, chosen.probed), atlas, edits,
                "loss" if criterion == "necessity" else "gain", controls=controls, kinds=kinds,
                base=Scores({name: base.scores[name] for name in chosen.probed}, {}),
                drawn_from=base.sample.concepts, seeds_at_once=SHAMS, parts=base.parts,
                memory=base.remembered,
            )
        )  # fmt: skip

    try:
        return Function((yield from work(KINDS if subsets else ("gaussian",))))
    except EngramError as error:
        if not (controls and subsets):
            raise
        # Inputs that cannot be drawn from; what was measured is remembered.
        return Function((yield from work(("gaussian",))), str(error))


def measure_responses(
    base: Base, choice: Choice, chosen: Selection, layers: tuple[str, ...], seeds: int
) -> Generator[Step[Any], None, pd.DataFrame]:
    """Measure specificity and reactivation at strength 1, as `ec.responses` does."""
    atlas = base.variant(choice.power, choice.clip)

    def work(controls: int) -> Generator[Step[Any], None, pd.DataFrame]:
        return lock_each_step(
            responses_steps(
                subject_of(base, chosen.probed), atlas, layers=layers, concepts=chosen.edited,
                controls=controls, drawn_from=base.sample.concepts, layers_at_once=1, memory=base.remembered,
            )
        )  # fmt: skip

    try:
        return (yield from work(seeds))
    except EngramError:
        if not seeds:
            raise
        return (yield from work(0))  # inputs that cannot be drawn from; the effect is measured all the same
