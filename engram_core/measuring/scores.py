"""Necessity and sufficiency: what a model can still do without a concept, or with it alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Scores, Subject
from ..editing.live_edit import Edit, apply_edit, edit_sizes, live_edit
from ..errors import DataError
from ..numerics.precision import exactly
from ..progress import Progress
from ..solving.choosing import chosen_concepts
from .options import (
    CONTROL_SEEDS,
    SHAMS,
    TAILS,
    add_control,
    check_options,
    check_subject,
    draw_others,
    subset_shams,
)
from .shams import gaussian_view, significance

__all__ = ["Effect", "necessity", "selective_effect", "sufficiency"]

Effect = Literal["loss", "gain"]


@exactly
def necessity(
    subject: Subject,
    atlas: Atlas,
    *,
    strength: float = 1.0,
    scaling: str = "plain",
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    controls: int = CONTROL_SEEDS,
    seed: int = 0,
    sham_others: int | None = None,
    shams: dict[str, Atlas] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure loss of function: the task score of every probe without each concept.

    Args:
        subject: model, concepts with held-out inputs, task.
        atlas: the engrams; its sharpness applies.
        strength: α.
        scaling: ``"plain"`` or ``"adaptive"``.
        layers: which layers are edited.
        concepts: whose engrams to erase, one at a time; default all.
        controls: shams of each kind; 0 leaves the control columns out.
        seed: of the first sham.
        sham_others: score Gaussian shams on the concept itself and on this many others, drawn at random for
            each concept; default all. The effect itself is always scored on all. The control columns of
            the others are NaN then.
        shams: what `subset_shams` returned for the same seeds, if it was called before.
        progress: called with (done, total, text).

    Returns:
        Columns: concept, probe, score, base, delta = score − base, says (share of the probe's inputs
        answered with the concept), selective (the concept's own loss less the mean loss of the others;
        one value per concept), each detail of the task and its ``base_``, and per sham kind: mean score,
        _sd, _z, _p. z and p hold the loss ``base − score`` against the shams' losses, and ``selective``
        against theirs.
    """
    erased = dict.fromkeys(chosen_concepts(atlas, concepts), strength)
    # Checked and selected once; each concept then gets the same edit of itself alone.
    whole = Edit.of(atlas, erase=erased, scaling=scaling, layers=layers)
    edits = {name: replace(whole, erase=((name, value),)) for name, value in whole.erase}
    return _function(subject, atlas, edits, "loss", controls, seed, shams, sham_others, progress)


@exactly
def sufficiency(
    subject: Subject,
    atlas: Atlas,
    *,
    null: Literal["nothing", "in place"] = "nothing",
    strength: float = 1.0,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    controls: int = CONTROL_SEEDS,
    seed: int = 0,
    sham_others: int | None = None,
    shams: dict[str, Atlas] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure gain of function: the task score of every probe when each concept is kept alone.

    ``says`` tells how much a score is worth: a model that answers the concept to everything scores 1 on
    it and proves nothing. Compare it with ``says`` on the other probes; ``selective`` is the own score less
    the mean of that (of the others' scores, where the task cannot say). Arguments as in `necessity`; `null`
    is what keeping starts from (docs/science.md section 1).
    z and p hold the score, and ``selective``, against the shams'.
    """
    kept = dict.fromkeys(chosen_concepts(atlas, concepts), strength)
    whole = Edit.of(atlas, keep=kept, null=null, layers=layers)
    edits = {name: replace(whole, keep=((name, value),)) for name, value in whole.keep or ()}
    return _function(subject, atlas, edits, "gain", controls, seed, shams, sham_others, progress)


def _function(
    subject: Subject,
    atlas: Atlas,
    edits: dict[str, Edit],
    effect: Effect,
    controls: int,
    seed: int,
    shams: dict[str, Atlas] | None,
    sham_others: int | None,
    progress: Progress | None,
) -> pd.DataFrame:
    check_subject(subject, atlas)
    check_options(controls)
    probes = list(subject.concepts)
    seeds = [seed + i for i in range(controls)]
    if shams is None:
        shams = subset_shams(subject, atlas, seeds, list(edits), progress)
    total = len(edits) * (1 + controls) + controls * len({id(a) for a in shams.values()})
    done = 0

    def measure(model: nn.Module, text: str, some: Sequence[str] = probes) -> Scores:
        nonlocal done
        scores = subject.task.measure(model, subject.concepts, some)
        done += 1
        if progress is not None:
            progress(done, total, text)
        return scores

    base = subject.task.measure(subject.model, subject.concepts)
    view = apply_edit(atlas, next(iter(edits.values())), subject.model)
    subset_scores: dict[int, list[Scores]] = {}
    frames = []
    for concept, edit in edits.items():
        live_edit(view).set(edit)
        scores = measure(view, f"testing {concept}")
        frame = pd.DataFrame(
            {
                "concept": concept,
                "probe": probes,
                "score": [scores.score[p] for p in probes],
                "base": [base.score[p] for p in probes],
            }
        )
        frame["delta"] = frame["score"] - frame["base"]
        frame["says"] = [_says(scores, p, concept) for p in probes]
        selective = selective_effect(scores, base.score, concept, effect)
        frame["selective"] = selective
        for name, known in scores.details.items():
            frame[name] = [known.get(p, math.nan) for p in probes]
            frame[f"base_{name}"] = [base.details[name].get(p, math.nan) for p in probes]
        if controls:
            sizes = edit_sizes(atlas, edit)
            some = _some_probes(probes, concept, sham_others, seed)
            noise = [
                measure(
                    gaussian_view(atlas, edit, s, model=subject.model, sizes=sizes),
                    f"sham of {concept}",
                    some,
                )
                for s in seeds
            ]
            sham = shams[concept]
            if id(sham) not in subset_scores:
                subset_scores[id(sham)] = _subset_scores(sham, edit, measure)
            for kind, found in zip(SHAMS, (noise, subset_scores[id(sham)]), strict=True):
                values = [np.array([s.score.get(p, math.nan) for p in probes]) for s in found]
                add_control(frame, kind, frame["score"].to_numpy(), values, falls=effect == "loss")
                shamed = [selective_effect(s, base.score, concept, effect) for s in found]
                for tail, value in zip(TAILS.values(), significance(selective, shamed), strict=True):
                    frame[f"selective_{kind}{tail}"] = value
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _some_probes(probes: Sequence[str], concept: str, others: int | None, seed: int) -> list[str]:
    """Return the concept itself and some others, drawn at random but the same for every sham of it."""
    place = list(probes).index(concept) if concept in probes else len(probes)
    drawn = draw_others(probes, [concept], others, seed=(seed, place), option="sham_others")
    return [p for p in probes if p == concept or p in drawn]


def _says(scores: Scores, probe: str, concept: str) -> float:
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
        lost = {p: base[p] - value for p, value in scores.score.items()}
        return lost[concept] - float(np.mean([lost[p] for p in others]))
    against = [_says(scores, p, concept) if scores.says else scores.score[p] for p in others]
    return scores.score[concept] - float(np.mean(against))


def _subset_scores(sham: Atlas, edit: Edit, measure: Callable[[nn.Module, str], Scores]) -> list[Scores]:
    """Score the engram of every random subset, used exactly as `edit` uses the concept's."""
    if edit.keep is not None and not edit.from_nothing:
        raise DataError(
            "A random subset kept in place has no counterpart, because the other concepts overlap it. "
            "Use null='nothing' for its control, or controls=0."
        )

    def imitate(name: str) -> Edit:
        if edit.keep is None:
            return replace(edit, erase=((name, edit.erase[0][1]),))
        return replace(edit, keep=((name, edit.keep[0][1]),))

    return [measure(apply_edit(sham, imitate(name)), "testing random subsets") for name in sham.concepts]
