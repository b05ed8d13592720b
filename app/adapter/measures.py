"""The four criteria in portions: what is measured, the matrices, their shams, the inputs behind a cell."""

from __future__ import annotations

import random
from collections.abc import Generator, Hashable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from torch import nn

import engram_core as ec
from engram_core.editing import apply_edit, edit_sizes
from engram_core.errors import EngramError
from engram_core.tasks import Scores, Subject

from ..choice import ERASE, FROM_NOTHING, KEEP, Choice, Facts
from .base import HEAVY, Base, chunks
from .visitor import edit_of

__all__ = [
    "Function",
    "Selection",
    "answers_behind",
    "edit_for",
    "function_steps",
    "images_behind",
    "key_of",
    "response_steps",
    "selection",
    "subject_of",
]

SHAMS = 3
"""Seeds of each kind of control on a page; the core's own default is 20."""

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


def edit_for(atlas: ec.Atlas, row: Choice) -> ec.Edit:
    """Return the core's form of a row's edit."""
    return edit_of(atlas, row)


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
        """Return the selective effect, as `ec.necessity` and `ec.sufficiency` define it."""
        others = [name for name in scores.score if name != concept]
        if criterion == "necessity":
            lost = {name: self.before[name] - value for name, value in scores.score.items()}
            return lost[concept] - float(np.mean([lost[name] for name in others]))
        if not scores.says:
            # A task that cannot say what was answered: the own score less that of the others.
            return scores.score[concept] - float(np.mean([scores.score[name] for name in others]))
        return scores.score[concept] - float(
            np.mean([scores.says[name].get(concept, 0.0) for name in others])
        )


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
    key = ("function", criterion, common, chosen.probed)
    known: dict[Hashable, Scores] = base.remembered.made(key, dict)
    subject = subject_of(base, chosen.probed)
    found = Function({name: base.scores[name] for name in chosen.probed})
    rows = {name: key_of(choice, name, criterion, null) for name in chosen.edited}
    seeds = range(SHAMS)
    total = len(rows) * (1 + SHAMS) if controls else len(rows)
    done = 0
    for name, row in rows.items():
        yield done / total, f"{'Erasing' if row.mode == ERASE else 'Keeping'} {name}", found
        edit = edit_for(atlas, row)
        if name not in known:
            with HEAVY:
                view = apply_edit(atlas, edit, base.sample.model)
            for _ in _measured(base, subject, view, known, name):
                yield done / total, f"{'Erasing' if row.mode == ERASE else 'Keeping'} {name}", found
        found.rows[name] = known[name]
        done += 1
    if not controls:
        yield 1.0, "", found
        return
    for name, row in rows.items():
        edit, sizes = edit_for(atlas, row), None
        for seed in seeds:
            place = ("gaussian", name, seed)
            if place not in known:
                with HEAVY:
                    sizes = sizes or edit_sizes(atlas, edit)
                    sham = ec.gaussian_view(atlas, edit, seed, model=base.sample.model, sizes=sizes)
                for _ in _measured(base, subject, sham, known, place):
                    yield done / total, f"Control: random changes as large as that of {name}", found
            found.gaussian.setdefault(name, []).append(known[place])
            done += 1
            yield done / total, f"Control: random changes as large as that of {name}", found
    if criterion == "necessity" or null == FROM_NOTHING:
        yield from _subsets(base, atlas, subject, rows, known, found)
    yield 1.0, "", found


def _measured(
    base: Base, subject: Subject, model: nn.Module, known: dict[Hashable, Scores], place: Hashable
) -> Generator[None]:
    """Score a model portion by portion, and put the whole where it is looked for."""
    score: dict[str, float] = {}
    says: dict[str, dict[str, float]] = {}
    names = list(subject.concepts)
    facts = replace(base.facts, classes=tuple(names))
    for part in chunks(facts):
        with HEAVY:
            scores = subject.task.measure(model, subject.concepts, part)
        score |= scores.score
        says |= scores.says
        yield
    known[place] = Scores(score, says)


def _subsets(
    base: Base, atlas: ec.Atlas, subject: Subject, rows: dict[str, Choice], known: dict[Hashable, Scores],
    found: Function,
) -> Iterator[tuple[float, str, Function]]:  # fmt: skip
    """Score the engrams of random subsets; concepts of one size and one strength share them."""
    for name, row in rows.items():
        size = atlas.counts[name]
        doing = f"Control: random sets of {size} recorded inputs"
        yield 0.99, doing, found
        try:
            sham = _subset_atlas(base, atlas, size)
        except EngramError as error:
            found.refused = str(error)
            return
        for subset in sham.concepts:
            edit = edit_for(atlas, row)
            if edit.keep is None:
                edit = replace(edit, erase=((subset, edit.erase[0][1]),))
            else:
                edit = replace(edit, keep=((subset, edit.keep[0][1]),))
            place = ("subset", size, subset, row.strength)
            if place not in known:
                with HEAVY:
                    view = apply_edit(sham, edit, base.sample.model)
                for _ in _measured(base, subject, view, known, place):
                    yield 0.99, doing, found
            found.subset.setdefault(name, []).append(known[place])


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
    key = ("responses", atlas.sharpness, chosen)
    known: dict[str, pd.DataFrame] = base.remembered.made(key, dict)
    shams = None
    for done, layer in enumerate(layers):
        if layer not in known:
            yield done / len(layers), f"Measuring the response of {layer}", None
            if shams is None:
                shams = _response_shams(base, atlas, chosen)
            with HEAVY:
                known[layer] = ec.responses(
                    subject,
                    atlas,
                    layers=[layer],
                    concepts=chosen.edited,
                    controls=SHAMS if shams else 0,
                    shams=shams or None,
                )
    yield 1.0, "", pd.concat([known[layer] for layer in layers], ignore_index=True)


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
    atlas = base.variant(row.power, row.clip)

    def make() -> pd.DataFrame:
        view = apply_edit(atlas, edit_for(atlas, row), base.sample.model)
        inputs = base.sample.concepts[probed].probe
        task, classes = base.sample.task, np.array(base.facts.classes)
        before, after = (
            classes[task.logits(model, inputs).argmax(-1).numpy()]  # type: ignore[attr-defined]
            for model in (base.sample.model, view)
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

    atlas = base.variant(row.power, row.clip)

    def make() -> pd.DataFrame:
        task = base.sample.task
        view = apply_edit(atlas, edit_for(atlas, row), base.sample.model)
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
        written = complete(view, task.tokenizer, asked, max_new_tokens=12, chat=task.template)  # type: ignore[attr-defined]
        frame["edited says"] = [*(text.strip() for text in written), *[""] * (len(frame) - len(asked))]
        return frame

    return base.remembered.made(("behind", row, probed), make)
