"""The four criteria in portions: what is measured, the matrices, their shams, the inputs behind a cell."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
import pandas as pd
from torch import nn

import engram_core as ec
from engram_core.controls import significance
from engram_core.editing import apply_edit
from engram_core.errors import EngramError
from engram_core.gain_loss import Effect, selective_effect
from engram_core.tasks import Scores, Subject

from ..choice import ERASE, FROM_NOTHING, KEEP, Choice, Facts
from .base import HEAVY, Base, portions
from .scoring import gaussian_makers
from .visitor import edit_of, edited_view

__all__ = [
    "WRITTEN",
    "Function",
    "Selection",
    "against_shams",
    "answers_behind",
    "function_steps",
    "images_behind",
    "key_of",
    "response_steps",
    "selection",
    "subject_of",
]

SHAMS = 3
"""Seeds of each kind of control on a page; the core's own default is 20."""

WRITTEN = 12
"""New tokens of each answer written out behind a cell."""

_EVERY = 16  # concepts up to which all are measured
_EDITED, _PROBED = 12, 24
_QUESTIONS = 8  # answers written out behind a cell


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
            choice, mode=KEEP, concepts=(concept,), null=null, strength=1.0, own=(), scaling="plain"
        )
    strength = choice.strengths.get(concept, choice.strength)
    return replace(choice, mode=ERASE, concepts=(concept,), null=FROM_NOTHING, strength=strength, own=())


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
    """Hold selective effects against those of their shams; see `engram_core.controls.significance`.

    Returns:
        A table (concept, selective, and per kind of sham there is, selective_KIND, its mean, and _p), and
        the effects of the single shams by kind.
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
            table[f"selective_{kind}_p"] = [p for *_, p in held]
    return table, runs


def function_steps(
    base: Base, choice: Choice, criterion: str, null: str, chosen: Selection, *, controls: bool
) -> Iterator[tuple[float, str, Function]]:
    """Measure necessity or sufficiency; yield the share done, what is being done, and what is known.

    Args:
        base: the model.
        choice: its strength, scaling, sharpness and layers count.
        criterion: "necessity" or "sufficiency".
        null: what keeping starts from.
        chosen: which concepts.
        controls: measure the shams too (after the effect).
    """
    atlas = base.variant(choice.power, choice.clip)
    common = replace(choice, concepts=(), mode=ERASE, null=null)
    if criterion == "sufficiency":
        common = replace(common, strength=1.0, own=(), scaling="plain")
    subject = subject_of(base, chosen.probed)

    def scored(place: tuple[Hashable, ...], make: Callable[[], nn.Module]) -> Iterator[tuple[float, Scores]]:
        key = ("function", criterion, common, chosen.probed, place)
        return base.remembered.steps(key, partial(_score, base, subject, make))

    found = Function({name: base.scores[name] for name in chosen.probed})
    rows = {name: key_of(choice, name, criterion, null) for name in chosen.edited}
    total = len(rows) * (1 + SHAMS) if controls else len(rows)
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
        for seed, make in gaussian_makers(atlas, edit_of(atlas, row), range(SHAMS)).items():
            for _, scores in scored(("gaussian", name, seed), make):  # noqa: B007
                yield done / total, doing, found
            found.gaussian.setdefault(name, []).append(scores)
            done += 1
    if criterion == "necessity" or null == FROM_NOTHING:
        for name, row in rows.items():
            size = atlas.counts[name]
            doing = f"Control: random sets of {size} recorded inputs"
            yield 0.99, doing, found
            try:
                sham = _subset_atlas(base, atlas, size)
            except EngramError as error:
                found.refused = str(error)
                break
            for subset in sham.concepts:
                edit = edit_of(atlas, row)
                if edit.keep is None:
                    edit = replace(edit, erase=((subset, edit.erase[0][1]),))
                else:
                    edit = replace(edit, keep=((subset, edit.keep[0][1]),))
                # Concepts of one size and one strength share them.
                place = ("subset", size, subset, row.strength)
                for _, scores in scored(place, partial(apply_edit, sham, edit, base.sample.model)):  # noqa: B007
                    yield 0.99, doing, found
                found.subset.setdefault(name, []).append(scores)
    yield 1.0, "", found


def _score(base: Base, subject: Subject, make: Callable[[], nn.Module]) -> Iterator[tuple[float, Scores]]:
    score: dict[str, float] = {}
    says: dict[str, dict[str, float]] = {}
    yield 0.0, Scores(score, says)
    with HEAVY:
        model = make()
    for part in portions(base.facts, subject, model, subject.concepts):
        score |= part.score
        says |= part.says
        yield len(score) / len(subject.concepts), Scores(score, says)


def _subset_atlas(base: Base, atlas: ec.Atlas, size: int) -> ec.Atlas:
    # Without the lock: it is one recording, which shares nothing, and others must not wait for it.
    key = ("subset", size, atlas.sharpness)
    found = base.remembered.get(key)
    if found is None:
        found = ec.subset_atlas(atlas, base.sample.concepts, size=size, seeds=range(SHAMS))
        base.remembered.put(key, found)
    return found


def response_steps(
    base: Base, choice: Choice, chosen: Selection, layers: tuple[str, ...]
) -> Iterator[tuple[float, str, pd.DataFrame | None]]:
    """Measure specificity and reactivation at strength 1; yield share done, layer, and the table at the end.

    The table is that of `ec.responses`, with Gaussian shams and random subsets.
    """
    atlas = base.variant(choice.power, choice.clip)
    subject = subject_of(base, chosen.probed)
    keys = {layer: ("responses", atlas.sharpness, chosen, layer) for layer in layers}
    shams = cache(partial(_response_shams, base, atlas, chosen))

    def make(layer: str) -> pd.DataFrame:
        return ec.responses(
            subject,
            atlas,
            layers=[layer],
            concepts=chosen.edited,
            controls=SHAMS if shams() else 0,
            shams=shams() or None,
        )

    for share, doing, found in base.remembered.each(keys, make, "Measuring the response of"):  # noqa: B007
        if share < 1:
            yield share, doing, None
            shams()  # while nobody waits for this visitor's turn
    yield 1.0, "", pd.concat(found.values(), ignore_index=True)


def _response_shams(base: Base, atlas: ec.Atlas, chosen: Selection) -> dict[str, ec.Atlas]:
    try:
        return {name: _subset_atlas(base, atlas, atlas.counts[name]) for name in chosen.edited}
    except EngramError:  # inputs that cannot be drawn from; the effect is measured all the same
        return {}


def images_behind(base: Base, row: Choice, probed: str) -> pd.DataFrame:
    """Return what base and edited model answer to every held-out image of a class.

    Columns: image (its number, from 1), truth, base, edited, changed ("lost", "gained", "other answer", "");
    those that changed first.
    """

    def make() -> pd.DataFrame:
        inputs = base.sample.concepts[probed].probe
        # A model may have outputs that are no concept here.
        task, classes = base.sample.task, np.array(base.sample.task.classes)  # type: ignore[attr-defined]
        before, after = (
            classes[task.logits(model, inputs).argmax(-1).numpy()]  # type: ignore[attr-defined]
            for model in (base.sample.model, edited_view(base, row))
        )
        frame = pd.DataFrame({"image": range(1, len(before) + 1), "truth": probed})
        frame["base"], frame["edited"] = before, after
        frame["changed"] = np.select(
            [
                (before == probed) & (after != probed),
                (before != probed) & (after == probed),
                before != after,
            ],
            ["lost", "gained", "other answer"],
            "",
        )
        rank = frame["changed"].map({"lost": 0, "gained": 1, "other answer": 2, "": 3})
        return frame.iloc[np.argsort(rank.to_numpy(), kind="stable")].reset_index(drop=True)

    return base.remembered.made(("behind", row, probed), make)


def answers_behind(base: Base, row: Choice, probed: str) -> pd.DataFrame:
    """Return every question of a concept with what both models make of it.

    Columns: question, answer (the true one), base, edited (whether exact), base nats, edited nats (per token
    of the true answer), edited says (what the edited model writes, for the first questions); changed first.
    """
    from engram_core.language import complete, recall

    def make() -> pd.DataFrame:
        task = base.sample.task
        view = edited_view(base, row)
        before, after = (
            recall(model, task.tokenizer, task.texts, concepts=[probed], template=task.template)  # type: ignore[attr-defined]
            for model in (base.sample.model, view)
        )
        frame = pd.DataFrame(
            {
                "question": before["prompt"], "answer": before["answer"], "base": before["exact"],
                "edited": after["exact"], "base nats": before["nll"], "edited nats": after["nll"],
            }
        )  # fmt: skip
        order = np.argsort((frame["base"] == frame["edited"]).to_numpy(), kind="stable")
        frame = frame.iloc[order].reset_index(drop=True)
        asked = frame["question"].tolist()[:_QUESTIONS]
        written = complete(view, task.tokenizer, asked, max_new_tokens=WRITTEN, chat=task.template)  # type: ignore[attr-defined]
        frame["edited says"] = [*(text.strip() for text in written), *[""] * (len(frame) - len(asked))]
        return frame

    return base.remembered.made(("behind", row, probed), make)
