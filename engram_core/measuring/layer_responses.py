"""Specificity and reactivation: how a layer's engrams answer held-out inputs (docs/science.md section 2)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..atlas import Atlas
from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Subject
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Recent, Step, Steps, drain, nested
from ..recording.record import record_steps
from ..recording.recording import Recording
from ..recording.statistics import Source, homogeneous_moment, homogeneous_rows
from ..solving.choosing import chosen_concepts
from .options import check_options, check_subject
from .shams import gaussian_matrices, subset_shams_steps
from .significance import CONTROL_SEEDS, add_control

__all__ = ["one_measure", "reactivation", "reactivation_of", "responses", "responses_steps", "specificity"]


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
    work = responses_steps(
        subject, atlas, strength=strength, layers=layers, concepts=concepts, controls=controls, seed=seed,
        shams=shams,
    )  # fmt: skip
    return drain(work, progress)


@exactly
def responses_steps(
    subject: Subject,
    atlas: Atlas,
    *,
    strength: float = 1.0,
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    controls: int = CONTROL_SEEDS,
    seed: int = 0,
    shams: Mapping[str, Atlas] | None = None,
    drawn_from: ConceptSet | None = None,
    layers_at_once: int | None = None,
    memory: Memory | None = None,
) -> Generator[Step[Any], None, pd.DataFrame]:
    """Do what `responses` does in steps.

    Args:
        subject: as in `responses`, and so on to `shams`.
        atlas: the engrams.
        strength: of the engrams.
        layers: which layers.
        concepts: whose engrams.
        controls: number of shams of each kind.
        seed: of the first sham.
        shams: atlases of random subsets.
        drawn_from: what random subsets are drawn from; default the subject's concepts.
        layers_at_once: layers whose held-out inputs are recorded together; default all that are measured.
            Their rows in all layers of a large model take gigabytes.
        memory: of results of this subject's model; a layer that is remembered takes no time.

    Yields:
        The steps of what is recorded first, then those of measuring, with the tables so far by layer.

    Returns:
        The table of `responses`.
    """
    check_subject(subject, atlas)
    check_options(controls, strength)
    memory = Recent() if memory is None else memory
    chosen, names = tuple(atlas.select(layers)), chosen_concepts(atlas, concepts)
    probes, seeds = tuple(subject.concepts), tuple(seed + i for i in range(controls))
    settings = ("responses", atlas.sharpness, float(strength), tuple(names), probes, seeds)
    found: dict[str, pd.DataFrame] = {}
    total = len(chosen) * len(names)

    def measured(layer: str, held: Recording) -> Steps[pd.DataFrame]:
        return _layer_steps(probes, atlas, layer, names, held, strength, seeds, shams or {})

    missing = [layer for layer in chosen if memory.get((*settings, layer)) is None]
    if missing and shams is None:
        shams = yield from subset_shams_steps(
            subject.concepts if drawn_from is None else drawn_from, atlas, seeds, names, layers=chosen,
            memory=memory,
        )  # fmt: skip
    held: Recording | None = None
    covered: list[str] = []
    for layer in chosen:
        known: pd.DataFrame | None = memory.get((*settings, layer))
        if known is None:
            if held is None or layer not in covered:
                covered = missing[missing.index(layer) :][:layers_at_once]
                held = yield from record_steps(atlas.model, subject.concepts.held_out(), layers=covered)
            known = yield from nested(
                measured(layer, held), done=len(found) * len(names), size=len(names), total=total,
                partial=dict(found),
            )  # fmt: skip
            memory.put((*settings, layer), known)
        found[layer] = known
    return pd.concat(found.values(), ignore_index=True)


class _Probes:
    """Held-out inputs of all concepts in one layer, ready to be answered by any matrix."""

    def __init__(self, atlas: Atlas, layer: str, held: Recording, names: Sequence[str]):
        linear_map = atlas.linear_map(layer)
        bias = linear_map.bias
        self.matrix = atlas.matrix(layer).double()
        reached = layer in held.source_of
        source = (
            held.sources[held.source_of[layer]] if reached else Source(linear_map.columns, linear_map.groups)
        )
        self._parts: list[tuple[bool, Tensor]] = []
        for name in names:
            statistics = source.statistics_of(name)
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


def _layer_steps(
    names: Sequence[str],
    atlas: Atlas,
    layer: str,
    concepts: Sequence[str],
    held: Recording,
    strength: float,
    seeds: Sequence[int],
    shams: Mapping[str, Atlas],
) -> Steps[pd.DataFrame]:
    """Measure one layer, an engram in every step."""
    what = f"measuring {layer}"
    probes = _Probes(atlas, layer, held, names)
    yield Step(0, len(concepts), what)
    unit = {layer: 1.0}
    noise = [probes.answer(matrix) for s in seeds for _, matrix in gaussian_matrices(atlas, unit, s)]
    subsets: dict[int, list[dict[str, np.ndarray]]] = {}
    for sham in shams.values() if seeds else ():
        if id(sham) not in subsets:
            yield Step(0, len(concepts), what)
            found = [probes.answer(sham.dense(layer, name, strength)) for name in sham.concepts]
            subsets[id(sham)] = [probes.measures(*pair) for pair in found]
    frames: list[pd.DataFrame] = []
    for done, concept in enumerate(concepts):
        yield Step(done, len(concepts), what)
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
    yield Step(len(concepts), len(concepts), what)
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
