"""The four criteria in portions: what is measured, the matrices, and their shams."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
from torch import nn

import engram_core as ec
from engram_core.concepts.tasks import Scores, Subject
from engram_core.editing.live_edit import apply_edit
from engram_core.errors import EngramError
from engram_core.measuring.scores import Effect, selective_effect
from engram_core.measuring.significance import significance

from ..choice.choice import ERASE, FROM_NOTHING, KEEP, Choice, Facts
from ..server.base import Base, portions
from ..server.turns import Report, in_turns
from .scores import gaussian_makers
from .visitor import edit_of, edited_view

__all__ = [
    "Function",
    "Selection",
    "against_shams",
    "function_steps",
    "key_of",
    "response_steps",
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


@dataclass
class Function:
    """Scores of the edited models, as far as they are known.

    Attributes:
        before: score of the base model per probe.
        rows: scores per edited concept.
        gaussian: of Gaussian shams, per edited concept one per seed.
        subset: of random subsets, likewise.
        refused: why there is no random subset, in words.
    """

    before: dict[str, float]
    rows: dict[str, Scores] = field(default_factory=dict)
    gaussian: dict[str, list[Scores]] = field(default_factory=dict)
    subset: dict[str, list[Scores]] = field(default_factory=dict)
    refused: str = ""

    def selective(self, concept: str, scores: Scores, criterion: str) -> float:
        """Return the selective effect, as `ec.necessity` and `ec.sufficiency` have it."""
        effect: Effect = "loss" if criterion == "necessity" else "gain"
        return selective_effect(scores, self.before, concept, effect)


def against_shams(
    found: Function, names: Sequence[str], criterion: str
) -> tuple[pd.DataFrame, dict[str, list[list[float]]]]:
    """Hold selective effects against those of their shams; see `engram_core.measuring.significance`.

    Returns:
        A table (concept, selective, and per kind of sham there is, selective_KIND, its mean, with _z and _p),
        and the effects of the single shams by kind.
    """
    effects = [found.selective(name, found.rows[name], criterion) for name in names]
    table = pd.DataFrame({"concept": names, "selective": effects})
    runs = {}
    for kind, shams in (("gaussian", found.gaussian), ("subset", found.subset)):
        runs[kind] = [
            [found.selective(name, scores, criterion) for scores in shams.get(name, ())] for name in names
        ]
        if shams:
            held = [
                significance(effect, run) if run else (np.nan,) * 4
                for effect, run in zip(effects, runs[kind], strict=True)
            ]
            table[f"selective_{kind}"] = [mean for mean, *_ in held]
            table[f"selective_{kind}_z"] = [z for _, _, z, _ in held]
            table[f"selective_{kind}_p"] = [p for *_, p in held]
    return table, runs


def function_steps(
    base: Base, choice: Choice, criterion: str, null: str, chosen: Selection, *, controls: int
) -> Iterator[tuple[float, str, Function]]:
    """Measure necessity or sufficiency; yield the share done, what is being done, and what is known.

    Args:
        base: the model.
        choice: its strength, scaling, sharpness and layers count.
        criterion: "necessity" or "sufficiency".
        null: what keeping starts from.
        chosen: which concepts.
        controls: seeds of each kind of sham that are measured too, after the effect. More of them later
            cost only those that were not there before.
    """
    atlas = base.variant(choice.power, choice.clip)
    common = replace(choice, concepts=(), mode=ERASE, null=null)
    if criterion == "sufficiency":
        common = replace(common, strength=1.0, single_strengths=(), scaling="plain")
    subject = subject_of(base, chosen.probed)

    def remembered(place: tuple[Hashable, ...]) -> Hashable:
        return ("function", criterion, common, chosen.probed, place)

    def scored(place: tuple[Hashable, ...], make: Callable[[], nn.Module]) -> Iterator[tuple[float, Scores]]:
        return base.remembered.steps(remembered(place), partial(_score, base, subject, make))

    found = Function({name: base.scores[name] for name in chosen.probed})
    rows = {name: key_of(choice, name, criterion, null) for name in chosen.edited}
    subsets = criterion == "necessity" or null == FROM_NOTHING
    total = len(rows) * (1 + controls * (1 + subsets))
    done = 0
    for name, row in rows.items():
        doing = f"{'Erasing' if row.mode == ERASE else 'Keeping'} {name}"
        for _, scores in scored((name,), partial(edited_view, base, row)):  # noqa: B007
            yield done / total, doing, found
        found.rows[name] = scores
        done += 1
    if not controls:
        yield 1.0, "", found
        return
    for name, row in rows.items():
        doing = f"Control: random changes as large as that of {name}"
        for seed, make in gaussian_makers(atlas, edit_of(atlas, row), range(controls)).items():
            for _, scores in scored(("gaussian", name, seed), make):  # noqa: B007
                yield done / total, doing, found
            found.gaussian.setdefault(name, []).append(scores)
            done += 1
    for name, row in rows.items() if subsets else ():
        size = atlas.counts[name]
        doing = f"Control: random sets of {size} recorded inputs"
        edit = edit_of(atlas, row)
        for seeds in _few(controls):
            sham: ec.Atlas | None = None
            for seed in seeds:
                # Concepts of one size and one strength share them.
                key = ("subset", size, f"subset {seed}", row.strength)
                if sham is None and base.remembered.get(remembered(key)) is None:
                    try:
                        for _, said, sham in _subset_atlas(base, atlas, size, seeds, choice.layers):  # noqa: B007
                            yield done / total, f"{doing}{said and ': '}{said}", found
                    except EngramError as error:
                        found.refused = str(error)
                        break
                for _, scores in scored(key, partial(_subset_view, base, sham, edit, key[2])):  # noqa: B007
                    yield done / total, doing, found
                found.subset.setdefault(name, []).append(scores)
                done += 1
            if found.refused:
                break
        if found.refused:
            break
    yield 1.0, "", found


def _few(count: int) -> list[range]:
    """Divide seeds into runs of as many as are measured at first: the rows of all together are gigabytes."""
    return [range(start, min(start + SHAMS, count)) for start in range(0, count, SHAMS)]


def _subset_view(base: Base, sham: ec.Atlas | None, edit: ec.Edit, subset: str) -> nn.Module:
    """Return the model with the engram of a random subset in the place of the edit's own."""
    assert sham is not None, "it is recorded where a score is missing"
    if edit.keep is None:
        edit = replace(edit, erase=((subset, edit.erase[0][1]),))
    else:
        edit = replace(edit, keep=((subset, edit.keep[0][1]),))
    return apply_edit(sham, edit, base.sample.model)


def _score(base: Base, subject: Subject, make: Callable[[], nn.Module]) -> Iterator[tuple[float, Scores]]:
    score: dict[str, float] = {}
    says: dict[str, dict[str, float]] = {}
    yield 0.0, Scores(score, says)
    model = make()  # without a turn: it shares nothing, and of many concepts in many layers it is long
    for part in portions(base.facts, subject, model, subject.concepts):
        score |= part.score
        says |= part.says
        yield len(score) / len(subject.concepts), Scores(score, says)


def _subset_atlas(
    base: Base, atlas: ec.Atlas, size: int, seeds: range, layers: tuple[str, ...]
) -> Iterator[tuple[float, str, ec.Atlas | None]]:
    """Record random subsets; yields the share done, what is being done, and at the end their engrams."""
    key = ("subset", size, atlas.sharpness, seeds, layers)
    found = base.remembered.get(key)
    if found is None:

        def work(report: Report) -> ec.Atlas:
            concepts = base.sample.concepts
            return ec.subset_atlas(atlas, concepts, size=size, seeds=seeds, layers=layers, progress=report)

        # Without turns: it is one recording, which shares nothing, and others must not wait for its batches.
        for share, doing, found in in_turns(work, turns=None):  # noqa: B007
            if share < 1:
                yield share, doing, found
        base.remembered.put(key, found)
    yield 1.0, "", found


def response_steps(
    base: Base, choice: Choice, chosen: Selection, layers: tuple[str, ...], seeds: int
) -> Iterator[tuple[float, str, pd.DataFrame | None]]:
    """Measure specificity and reactivation at strength 1; yield share done, layer, and the table at the end.

    The table is that of `ec.responses`, with Gaussian shams and random subsets of so many seeds.
    """
    atlas = base.variant(choice.power, choice.clip)
    subject = subject_of(base, chosen.probed)
    keys: dict[str, Hashable] = {
        layer: ("responses", atlas.sharpness, chosen, layer, seeds) for layer in layers
    }
    shams: dict[str, ec.Atlas] = {}
    if seeds and any(base.remembered.get(key) is None for key in keys.values()):
        try:
            for size in sorted({atlas.counts[name] for name in chosen.edited}):
                doing = f"Control: random sets of {size} recorded inputs"
                for share, said, sham in _subset_atlas(base, atlas, size, range(seeds), layers):  # noqa: B007
                    if share < 1:
                        yield 0.0, f"{doing}{said and ': '}{said}", None
                if sham is not None:
                    shams |= {name: sham for name in chosen.edited if atlas.counts[name] == size}
        except EngramError:  # inputs that cannot be drawn from; the effect is measured all the same
            shams = {}

    def make(layer: str, report: Report) -> pd.DataFrame:
        return ec.responses(
            subject,
            atlas,
            layers=[layer],
            concepts=chosen.edited,
            controls=seeds if shams else 0,
            shams=shams or None,
            progress=report,
        )

    doing = "Measuring the response of"
    for share, said, found in base.remembered.each_in_turns(keys, make, doing):  # noqa: B007
        if share < 1:
            yield share, said, None
    yield 1.0, "", pd.concat(found.values(), ignore_index=True)
