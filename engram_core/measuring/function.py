"""Necessity and sufficiency: what a model can still do without a concept, or with it alone."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import pandas as pd

from ..atlas import Atlas
from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Scores, Subject
from ..editing.edit import Edit
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Recent, Step, Steps, drain, nested
from ..recording.recording import Recording
from ..solving.choosing import chosen_concepts
from .function_scores import FunctionScores
from .options import check_options, draw_others
from .scores import Effect, Parts, Scorer, imitated
from .shams import remembered_subsets
from .significance import CONTROL_SEEDS, SHAMS

__all__ = [
    "FunctionScores",
    "function_steps",
    "necessity",
    "necessity_edits",
    "sufficiency",
    "sufficiency_edits",
]


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
    edits = necessity_edits(atlas, concepts, strength=strength, scaling=scaling, layers=layers)
    work = function_steps(
        subject, atlas, edits, "loss", controls=controls, seed=seed, sham_others=sham_others, shams=shams
    )
    return drain(work, progress).table()


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

    Returns:
        One row per kept concept and probe.
    """
    edits = sufficiency_edits(atlas, concepts, null=null, strength=strength, layers=layers)
    work = function_steps(
        subject, atlas, edits, "gain", controls=controls, seed=seed, sham_others=sham_others, shams=shams
    )
    return drain(work, progress).table()


def necessity_edits(
    atlas: Atlas,
    concepts: Iterable[str] | None = None,
    *,
    strength: float = 1.0,
    scaling: str = "plain",
    layers: str | Iterable[str] | None = None,
) -> dict[str, Edit]:
    """Return the edits that `necessity` measures, by concept."""
    erased = dict.fromkeys(chosen_concepts(atlas, concepts), strength)
    # Checked and selected once; each concept then gets the same edit of itself alone.
    whole = Edit.of(atlas, erase=erased, scaling=scaling, layers=layers)
    return {name: replace(whole, erase=((name, value),)) for name, value in whole.erase}


def sufficiency_edits(
    atlas: Atlas,
    concepts: Iterable[str] | None = None,
    *,
    null: Literal["nothing", "in place"] = "nothing",
    strength: float = 1.0,
    layers: str | Iterable[str] | None = None,
) -> dict[str, Edit]:
    """Return the edits that `sufficiency` measures, by concept."""
    kept = dict.fromkeys(chosen_concepts(atlas, concepts), strength)
    whole = Edit.of(atlas, keep=kept, null=null, layers=layers)
    return {name: replace(whole, keep=((name, value),)) for name, value in whole.keep or ()}


@exactly
def function_steps(
    subject: Subject,
    atlas: Atlas,
    edits: Mapping[str, Edit],
    effect: Effect,
    *,
    controls: int = 0,
    kinds: Sequence[str] = SHAMS,
    seed: int = 0,
    sham_others: int | None = None,
    shams: Mapping[str, Atlas] | None = None,
    base: Scores | None = None,
    drawn_from: ConceptSet | None = None,
    seeds_at_once: int | None = None,
    parts: Parts | None = None,
    memory: Memory | None = None,
) -> Steps[FunctionScores]:
    """Score one edit per concept, then the shams of each, in steps.

    Args:
        subject: model, concepts with held-out inputs (all of them are scored), task.
        atlas: the engrams; its sharpness applies.
        edits: per concept the edit that erases it, or keeps it alone.
        effect: ``"loss"`` for erasing, ``"gain"`` for keeping.
        controls: shams of each kind, 0 or at least 2. More of them later cost only those that are new.
        kinds: kinds of shams, of `SHAMS`.
        seed: of the first sham.
        sham_others: as in `necessity`.
        shams: per concept the atlas of random subsets, if there is one; else they are recorded.
        base: the base model's scores, if they are known.
        drawn_from: what random subsets are drawn from; default the subject's concepts.
        seeds_at_once: random subsets that are recorded together; default all. Their rows in all layers of a
            large model take gigabytes.
        parts: as in `Scorer`.
        memory: as in `Scorer`.

    Yields:
        The scores so far; the same object every time, which grows.

    Returns:
        The scores of every edit and of its shams.

    Raises:
        DataError: if there are no random subsets to imitate an edit with, or too few inputs to draw from.
        ModelMismatchError: if the atlas is of another model.
    """
    check_options(controls)
    memory = Recent() if memory is None else memory
    scorer = Scorer(subject, atlas, parts=parts, memory=memory)
    probes = tuple(subject.concepts)
    seeds = [seed + i for i in range(controls)]
    # Concepts of one size and one strength share their random subsets.
    groups: dict[tuple[int, Edit], list[str]] = {}
    for name, edit in edits.items() if seeds and "subset" in kinds else ():
        groups.setdefault((atlas.counts[name], imitated(edit, "")), []).append(name)
    found = FunctionScores(effect, probes, Scores({}, {}, {}) if base is None else base)
    total = len(edits) + len(seeds) * (len(edits) * ("gaussian" in kinds) + len(groups))
    done = 0

    def piece(steps: Steps[Scores], what: str) -> Generator[Step[FunctionScores], None, Scores]:
        nonlocal done
        scores = yield from nested(steps, done=done, total=total, what=what, partial=found)
        done += 1
        return scores

    if base is None:
        found.base = yield from nested(
            scorer.base(probes), size=0, total=total, what="scoring the base model", partial=found
        )
    for name, edit in edits.items():
        what = f"{'erasing' if effect == 'loss' else 'keeping'} {name}"
        found.edited[name] = yield from piece(scorer.edit(edit, probes), what)
    for name, edit in edits.items() if "gaussian" in kinds else ():
        some = _some_probes(probes, name, sham_others, seed)
        for number in seeds:
            what = f"control: random changes as large as that of {name}"
            scores = yield from piece(scorer.gaussian(edit, number, some), what)
            found.shams.setdefault("gaussian", {}).setdefault(name, []).append(scores)
    for (size, edit), names in groups.items():
        what = f"control: random sets of {size} recorded inputs"
        for together in _divided(seeds, seeds_at_once):

            def record(
                size: int = size,
                first: str = names[0],
                together: Sequence[int] = together,
                layers: tuple[str, ...] = edit.layers,
            ) -> Generator[Step[Recording], None, Atlas]:
                if shams is not None:
                    return shams[first]
                return (
                    yield from remembered_subsets(
                        subject.concepts if drawn_from is None else drawn_from, atlas, size, together,
                        layers=layers, memory=memory,
                    )
                )  # fmt: skip

            for number in together:
                steps = scorer.subset(edit, f"subset {number}", size, probes, record)
                scores = yield from piece(steps, what)
                for name in names:
                    found.shams.setdefault("subset", {}).setdefault(name, []).append(scores)
    yield Step(total, total, "scored", found)
    return found


def _divided(seeds: Sequence[int], at_once: int | None) -> Iterator[Sequence[int]]:
    size = max(1, len(seeds) if at_once is None else at_once)
    for start in range(0, len(seeds), size):
        yield seeds[start : start + size]


def _some_probes(probes: Sequence[str], concept: str, others: int | None, seed: int) -> list[str]:
    """Return the concept itself and some others, drawn at random but the same for every sham of it."""
    place = list(probes).index(concept) if concept in probes else len(probes)
    drawn = draw_others(probes, [concept], others, seed=(seed, place), option="sham_others")
    return [p for p in probes if p == concept or p in drawn]
