"""Where a memory lives: what each layer holds of each concept, and what editing there alone does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..editing.live_edit import Edit, apply_edit, live_edit
from ..errors import DataError
from ..models.groups import choose_groups
from ..numerics.eigen import eigvalsh
from ..numerics.precision import exactly
from ..recording.recording import Progress
from ..solving.spectrum import Trace
from .options import check_options, check_subject, chosen_concepts
from .shams import gaussian_view

__all__ = ["certificate_table", "exclusivity_table", "layer_effects", "layer_table", "size_table"]


_Part = Callable[[Atlas, str, Sequence[str]], pd.DataFrame]


@exactly
def layer_table(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return what every layer holds of every concept, from the statistics and the weights alone.

    Args:
        atlas: the engrams; its sharpness applies to the size, not to the certificate.
        layers: which layers (see `layers.select_layers`).
        concepts: which concepts; default all.
        progress: called with (done, total, text) after every layer.

    Returns:
        layer, concept; ``norm = ‖E_c‖`` (Frobenius, bias column included), ``relative = ‖E_c‖ / ‖W‖``,
        ``rank`` (an upper bound); ``leak = ‖E_c X_rest‖² / ‖W X_c‖²``, ``residue = ‖(W − E_c) X_c‖² / ‖W
        X_c‖²`` and their sum ``error``, the leak certificate (docs/science.md section 2), in [0, 1] for the
        plain engram.

    Raises:
        UnknownNameError: for a layer or concept that the atlas does not have.
    """
    return _table(atlas, layers, concepts, (_sizes, _certificates), progress)


@exactly
def size_table(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return the first half of `layer_table`: layer, concept, norm, relative, rank."""
    return _table(atlas, layers, concepts, (_sizes,), progress)


@exactly
def certificate_table(
    atlas: Atlas, *, layers: str | Iterable[str] | None = None, concepts: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the second half of `layer_table`: layer, concept, leak, residue, error."""
    return _table(atlas, layers, concepts, (_certificates,))


def _table(
    atlas: Atlas,
    layers: str | Iterable[str] | None,
    concepts: Iterable[str] | None,
    parts: Iterable[_Part],
    progress: Progress | None = None,
) -> pd.DataFrame:
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    frames = []
    for done, layer in enumerate(chosen, start=1):
        keys = pd.DataFrame({"layer": layer, "concept": names})
        frames.append(pd.concat([keys, *(part(atlas, layer, names) for part in parts)], axis=1))
        if progress is not None:
            progress(done, len(chosen), f"reading {layer}")
    return pd.concat(frames, ignore_index=True)


def _sizes(atlas: Atlas, layer: str, names: Sequence[str]) -> pd.DataFrame:
    whole, rows = atlas.weight_norm(layer), []
    for name in names:
        norm = atlas[name].norm(layer)
        rows.append((norm, norm / whole if whole else 0.0, atlas[name].rank(layer)))
    return pd.DataFrame(rows, columns=["norm", "relative", "rank"])


def _certificates(atlas: Atlas, layer: str, names: Sequence[str]) -> pd.DataFrame:
    matrix, rows = atlas.matrix(layer), []
    for name in names:
        trace = atlas.trace(layer, name)
        with _unkept(trace):
            leak, residue, response = trace.leak(matrix)
        rows.append((leak / (response or 1.0), residue / (response or 1.0)))
    frame = pd.DataFrame(rows, columns=["leak", "residue"])
    return frame.assign(error=frame["leak"] + frame["residue"])


@exactly
def exclusivity_table(
    atlas: Atlas,
    *,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return how far each direction of a concept is its own (docs/science.md section 5).

    Args:
        atlas: the engrams.
        layers: which layers (see `layers.select_layers`).
        concepts: which concepts; default all.
        progress: called with (done, total, text) after every layer.

    Returns:
        layer, concept, group, direction (from 1), ``mu`` in [0, 1], descending within a group. 1 is a
        direction that only this concept uses; at its share of the data it is no more the concept's than
        anybody's.

    Raises:
        UnknownNameError: for a layer or concept that the atlas does not have.
    """
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    frames = []
    for done, layer in enumerate(chosen, start=1):
        for name in names:
            for group, mu in enumerate(_exclusivities(atlas.trace(layer, name))):
                values = {"direction": range(1, len(mu) + 1), "mu": mu.numpy()}
                frames.append(pd.DataFrame({"layer": layer, "concept": name, "group": group} | values))
        if progress is not None:
            progress(done, len(chosen), f"reading {layer}")
    return pd.concat(frames, ignore_index=True)


def _exclusivities(trace: Trace) -> Tensor:
    """Return μ, (groups, directions) on the processor, descending."""
    spectrum = trace.spectrum
    if trace.folded and spectrum.form == "primal":
        # The non-zero values of Σ_c Σ† by one symmetric solve, instead of a factor of Σ_c and a second solve.
        root = spectrum._vectors * spectrum._scale.sqrt().unsqueeze(-2)
        mu = eigvalsh(root.mT @ trace.moment @ root).flip(-1)
    else:
        mu = trace.exclusivity
    return mu.clamp(0, 1).cpu()


@contextmanager
def _unkept(trace: Trace) -> Iterator[None]:
    """Drop what a trace computes meanwhile: a table needs it once, and at a width of 1,600 it is 20 MB."""
    known = set(vars(trace))
    yield
    for name in set(vars(trace)) - known:
        vars(trace).pop(name, None)


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
