"""Where a memory lives: what editing one group of layers alone does."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ..atlas import Atlas
from ..concepts.tasks import Scores, Subject
from ..editing.edit import Edit
from ..errors import DataError
from ..models.groups import choose_groups
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Step, Steps, drain, nested
from .options import check_options
from .scores import Parts, Scorer

__all__ = ["layer_effects", "layer_effects_steps"]


@exactly
def layer_effects(
    subject: Subject,
    atlas: Atlas,
    *,
    erase: Mapping[str, float] | Iterable[str] | str,
    groups: Mapping[str, Iterable[str]] | Iterable[str] | str | None = None,
    scaling: str = "plain",
    controls: int = 0,
    seed: int = 0,
    base: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Erase concepts in one group of layers at a time, the other layers untouched, and score every concept.

    Args:
        subject: model, concepts (all of them are scored; see `ConceptSet.subset` for fewer) and task.
        atlas: the engrams; its sharpness applies.
        erase: concepts, or concepts with their strengths, taken away together.
        groups: groups of layers (see `groups.choose_groups`), or kinds of groups; default every layer alone.
        scaling: ``"plain"`` or ``"adaptive"``; adaptive weighs the layers of a group against each other.
        controls: Gaussian shams of the same norm in the same layers, 0 or at least 2.
        seed: of the first sham.
        base: the base model's scores, if they are known.
        progress: called with (done, total, text).

    Returns:
        group, layers (how many), probe, erased (whether the probe is one of those taken away), score, base,
        delta = score − base; with controls ``gaussian``, ``gaussian_low`` and ``gaussian_high``: mean, least
        and greatest score under the shams.

    Raises:
        DataError: if nothing is to be erased, or a number is out of range.
        UnknownNameError: for an unknown concept, layer or group.
    """
    work = layer_effects_steps(
        subject, atlas, erase=erase, groups=groups, scaling=scaling, controls=controls, seed=seed,
        base=base,
    )  # fmt: skip
    return drain(work, progress)


@exactly
def layer_effects_steps(
    subject: Subject,
    atlas: Atlas,
    *,
    erase: Mapping[str, float] | Iterable[str] | str,
    groups: Mapping[str, Iterable[str]] | Iterable[str] | str | None = None,
    scaling: str = "plain",
    controls: int = 0,
    seed: int = 0,
    base: Mapping[str, float] | None = None,
    parts: Parts | None = None,
    memory: Memory | None = None,
) -> Generator[Step[dict[str, pd.DataFrame]], None, pd.DataFrame]:
    """Do what `layer_effects` does in steps.

    Args:
        subject: as in `layer_effects`, and so on to `base`.
        atlas: the engrams.
        erase: what is taken away.
        groups: groups of layers.
        scaling: of the layers of a group.
        controls: Gaussian shams.
        seed: of the first sham.
        base: the base model's scores.
        parts: as in `scores.Scorer`.
        memory: as in `scores.Scorer`.

    Yields:
        The tables so far by group.

    Returns:
        The table of `layer_effects`.
    """
    check_options(controls)
    scorer = Scorer(subject, atlas, parts=parts, memory=memory)
    places = (
        {layer: (layer,) for layer in atlas.layers} if groups is None else choose_groups(atlas.layers, groups)
    )
    whole = Edit.of(atlas, erase=erase, scaling=scaling)
    if not whole.changes:
        raise DataError("There is nothing to erase: name a concept, with a strength that is not 0.")
    edits = {name: replace(whole, layers=tuple(atlas.select(members))) for name, members in places.items()}
    probes, erased = list(subject.concepts), dict(whole.erase)
    found: dict[str, pd.DataFrame] = {}
    total, done = len(edits) * (1 + controls), 0

    def piece(
        steps: Steps[Scores], what: str
    ) -> Generator[Step[dict[str, pd.DataFrame]], None, dict[str, float]]:
        nonlocal done
        scores = yield from nested(steps, done=done, total=total, what=what, partial=dict(found))
        done += 1
        return scores.score

    if base is None:
        scored = yield from nested(scorer.base(probes), size=0, total=total, what="scoring the base model")
        base = scored.score
    for name, edit in edits.items():
        scores = yield from piece(scorer.edit(edit, probes), f"erasing in {name} alone")
        frame = pd.DataFrame({"group": name, "layers": len(edit.layers), "probe": probes})
        frame["erased"] = [probe in erased for probe in probes]
        frame["score"] = [scores[probe] for probe in probes]
        frame["base"] = [base[probe] for probe in probes]
        frame["delta"] = frame["score"] - frame["base"]
        if controls:
            shams = []
            for number in range(seed, seed + controls):
                steps = scorer.gaussian(edit, number, probes)
                scores = yield from piece(steps, f"control: random change in {name} alone")
                shams.append([scores[probe] for probe in probes])
            frame["gaussian"] = np.mean(shams, axis=0)
            frame["gaussian_low"], frame["gaussian_high"] = np.min(shams, axis=0), np.max(shams, axis=0)
        found[name] = frame
    yield Step(total, total, "measured", dict(found))
    return pd.concat(found.values(), ignore_index=True)
