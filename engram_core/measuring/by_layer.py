"""Where a memory lives: what editing one group of layers alone does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..editing.live_edit import Edit, apply_edit, live_edit
from ..errors import DataError
from ..models.groups import choose_groups
from ..numerics.precision import exactly
from ..progress import Progress
from .options import check_options, check_subject
from .shams import gaussian_view

__all__ = ["layer_effects"]


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
    check_subject(subject, atlas)
    check_options(controls)
    places = (
        {layer: (layer,) for layer in atlas.layers} if groups is None else choose_groups(atlas.layers, groups)
    )
    whole = Edit.of(atlas, erase=erase, scaling=scaling)
    if not whole.changes:
        raise DataError("There is nothing to erase: name a concept, with a strength that is not 0.")
    edits = {name: replace(whole, layers=tuple(atlas.select(members))) for name, members in places.items()}
    probes, taken = list(subject.concepts), dict(whole.erase)
    before = subject.task.measure(subject.model, subject.concepts).score if base is None else base
    frames, total, done = [], len(edits) * (1 + controls), 0

    def told(text: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, text)

    view = apply_edit(atlas, next(iter(edits.values())), subject.model)
    for name, edit in edits.items():
        live_edit(view).set(edit)
        scores = subject.task.measure(view, subject.concepts).score
        told(f"editing {name} alone")
        frame = pd.DataFrame({"group": name, "layers": len(edit.layers), "probe": probes})
        frame["erased"] = [probe in taken for probe in probes]
        frame["score"] = [scores[probe] for probe in probes]
        frame["base"] = [before[probe] for probe in probes]
        frame["delta"] = frame["score"] - frame["base"]
        if controls:
            shams = []
            for place in range(controls):
                sham = gaussian_view(atlas, edit, seed + place, model=subject.model)
                shams.append(_scores(subject, sham, probes))
                told(f"sham of {name}")
            frame["gaussian"] = np.mean(shams, axis=0)
            frame["gaussian_low"], frame["gaussian_high"] = np.min(shams, axis=0), np.max(shams, axis=0)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _scores(subject: Subject, model: torch.nn.Module, probes: Sequence[str]) -> list[float]:
    found = subject.task.measure(model, subject.concepts).score
    return [found[probe] for probe in probes]
