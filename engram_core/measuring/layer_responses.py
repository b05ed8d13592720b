"""Specificity and reactivation: how a layer's engrams answer held-out inputs (docs/science.md section 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..numerics.precision import exactly
from ..progress import Progress
from ..recording.recording import Recording, Source, record
from ..recording.statistics import homogeneous_moment, homogeneous_rows
from ..solving.choosing import chosen_concepts
from .options import CONTROL_SEEDS, add_control, check_options, check_subject, subset_shams
from .shams import gaussian_matrices

__all__ = ["one_measure", "reactivation", "reactivation_of", "responses", "specificity"]


@exactly
def responses(
    subject: Subject,
    atlas: Atlas,
    *,
    strength: float = 1.0,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    controls: int = CONTROL_SEEDS,
    seed: int = 0,
    shams: dict[str, Atlas] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure how every engram answers every concept's held-out inputs, layer by layer.

    Args:
        subject: model and concepts with held-out inputs.
        atlas: the engrams.
        strength: α; the engram is scaled by it.
        layers: which layers (see `layers.select_layers`).
        concepts: whose engrams; default all.
        controls: number of shams of each kind; 0 leaves the control columns out.
        seed: of the first sham.
        shams: what `subset_shams` returned for the same seeds, if it was called before.
        progress: called with (done, total, text) after every engram in every layer.

    Returns:
        Columns: layer, concept, probe; ``ratio = ‖E_c X_k‖ / ‖W X_k‖`` (specificity: 1 on the concept's
        own inputs, 0 on others would be perfect); ``cosine`` between ``E_c X_k`` and ``W X_k``, every input
        weighing by its response, and ``explained = 1 − ‖(W − E_c) X_k‖² / ‖W X_k‖²`` (reactivation: 1 on
        own inputs). With controls, for each of these and each sham kind: mean, _sd, _z, _p.
    """
    check_subject(subject, atlas)
    check_options(controls, strength)
    chosen, names = atlas.select(layers), chosen_concepts(atlas, concepts)
    held = record(atlas.model, subject.concepts.held_out(), layers=chosen, progress=progress)
    seeds = [seed + i for i in range(controls)]
    if shams is None:
        shams = subset_shams(subject, atlas, seeds, names, progress)
    frames = []
    for done, layer in enumerate(chosen, start=1):

        def told(concepts: int, done: int = done, layer: str = layer) -> None:
            if progress is not None:
                count = (done - 1) * len(names) + concepts
                progress(count, len(chosen) * len(names), f"measuring {layer}")

        frames.append(_layer_responses(subject, atlas, layer, names, held, strength, seeds, shams, told))
    return pd.concat(frames, ignore_index=True)


class _Probes:
    """Held-out inputs of all concepts in one layer, ready to be answered by any matrix."""

    def __init__(self, atlas: Atlas, layer: str, held: Recording, names: Sequence[str]):
        slot = atlas.slot(layer)
        bias = slot.bias
        self.matrix = atlas.matrix(layer).double()
        reached = layer in held.source_of
        source = held.sources[held.source_of[layer]] if reached else Source(slot.columns, slot.groups)
        self._parts: list[tuple[bool, Tensor]] = []
        for name in names:
            statistics = source.of(name)
            if statistics.folded:
                self._parts.append((True, homogeneous_moment(statistics, bias)))
            else:
                self._parts.append((False, homogeneous_rows(statistics.rows(), bias).double()))
        self._bases = [self._weigh(self.matrix, part) for part in self._parts]
        self.whole = np.array([self._energy(self.matrix, i) for i in range(len(names))])

    @staticmethod
    def _weigh(matrix: Tensor, part: tuple[bool, Tensor]) -> Tensor:
        """Return ``M Σ_k`` (folded) or ``M X_kᵀ`` (rows)."""
        folded, tensor = part
        return matrix @ (tensor if folded else tensor.mT)

    def _energy(self, matrix: Tensor, index: int) -> float:
        weighed = self._weigh(matrix, self._parts[index])
        return float((weighed * (matrix if self._parts[index][0] else weighed)).sum())

    def answer(self, matrix: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return ``‖M X_k‖²`` and ``⟨M X_k, W X_k⟩`` for every probe k."""
        matrix = matrix.double()
        energies, inners = [], []
        for (folded, part), base in zip(self._parts, self._bases, strict=True):
            if folded:
                energies.append(float(((matrix @ part) * matrix).sum()))
                inners.append(float((base * matrix).sum()))
            else:
                answer = matrix @ part.mT
                energies.append(float(answer.square().sum()))
                inners.append(float((base * answer).sum()))
        return np.clip(energies, 0, None), np.array(inners)

    def measures(self, energy: np.ndarray, inner: np.ndarray) -> dict[str, np.ndarray]:
        """Turn energies and inner products into ratio, cosine and explained response."""
        whole = np.where(self.whole > 0, self.whole, np.nan)
        norm = np.sqrt(energy * whole)
        return {
            "ratio": np.sqrt(energy / whole),
            "cosine": np.divide(inner, norm, out=np.zeros_like(inner), where=norm > 0),
            "explained": 1 - (whole - 2 * inner + energy) / whole,
        }


def _layer_responses(
    subject: Subject,
    atlas: Atlas,
    layer: str,
    concepts: Sequence[str],
    held: Recording,
    strength: float,
    seeds: Sequence[int],
    shams: dict[str, Atlas],
    told: Callable[[int], None],
) -> pd.DataFrame:
    names = list(subject.concepts)
    probes = _Probes(atlas, layer, held, names)
    told(0)
    unit = {layer: 1.0}
    noise = [probes.answer(matrix) for s in seeds for _, matrix in gaussian_matrices(atlas, unit, s)]
    subsets: dict[int, list[dict[str, np.ndarray]]] = {}
    for sham in shams.values():
        told(0)
        if id(sham) not in subsets:
            found = [probes.answer(sham.dense(layer, name, strength)) for name in sham.concepts]
            subsets[id(sham)] = [probes.measures(*pair) for pair in found]
    frames = []
    for done, concept in enumerate(concepts):
        told(done)
        matrix = atlas.dense(layer, concept, strength)
        measured = probes.measures(*probes.answer(matrix))
        frame = pd.DataFrame({"layer": layer, "concept": concept, "probe": names, **measured})
        if seeds:
            size = float(torch.linalg.vector_norm(matrix))
            # Noise of another norm answers in proportion, so one set of noise serves every concept.
            scaled = [probes.measures(size**2 * energy, size * inner) for energy, inner in noise]
            kinds = {"gaussian": scaled, "subset": subsets[id(shams[concept])]}
            for measure, effect in measured.items():
                for kind, answers in kinds.items():
                    add_control(frame, f"{measure}_{kind}", effect, [a[measure] for a in answers])
        frames.append(frame)
    told(len(concepts))
    return pd.concat(frames, ignore_index=True)


def specificity(subject: Subject, atlas: Atlas, **options: Any) -> pd.DataFrame:
    """Return ``value = ‖E_c X_k‖ / ‖W X_k‖`` per layer, concept and probe; ``base`` is W's own, 1.

    Options and control columns as in `responses`.
    """
    return one_measure(responses(subject, atlas, **options), "ratio")


def reactivation(subject: Subject, atlas: Atlas, **options: Any) -> pd.DataFrame:
    """Return ``value``, the cosine of ``E_c X_k`` and ``W X_k``, and the explained response.

    Options and control columns as in `responses`.
    """
    return reactivation_of(responses(subject, atlas, **options))


def reactivation_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cosine of a table of responses as ``value``, and the explained response beside it."""
    frame = one_measure(table, "cosine")
    frame.insert(5, "explained", table["explained"])
    return frame


def one_measure(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return one measure of a table of responses as ``value``, with its controls."""
    frame = table[["layer", "concept", "probe"]].copy()
    frame["value"] = table[measure]
    frame["base"] = 1.0
    for column in table.columns:
        if column.startswith(measure + "_"):
            frame[column.removeprefix(measure + "_")] = table[column]
    return frame
