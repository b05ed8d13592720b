"""The four criteria, measured on held-out inputs, as tidy tables (SCIENCE.md section 2).

Specificity and reactivation are about one layer's response; sufficiency and necessity score the task
itself. Every table has one row per concept (whose engram it is) and probe (whose inputs are tested).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .controls import gaussian_matrices, gaussian_view, significance, subset_atlas
from .editing import Edit, apply_edit, edit_sizes, live_edit
from .engram import Atlas
from .errors import DataError, ModelMismatchError
from .recording import Progress, Recording, Source, record
from .statistics import homogeneous_moment, homogeneous_rows
from .tasks import Scores, Subject

__all__ = [
    "Criteria",
    "criteria",
    "necessity",
    "reactivation",
    "responses",
    "specificity",
    "subset_shams",
    "sufficiency",
]

CONTROL_SEEDS = 20
_SHAMS = ("gaussian", "subset")
_TAILS = {"mean": "", "sd": "_sd", "z": "_z", "p": "_p"}


# -- response of a layer ------------------------------------------------------------------------


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
        progress: called with (done, total, text).

    Returns:
        Columns: layer, concept, probe; ``ratio = ‖E_c X_k‖ / ‖W X_k‖`` (specificity: 1 on the concept's
        own inputs, 0 on others would be perfect); ``cosine`` between ``E_c X_k`` and ``W X_k``, every input
        weighing by its response, and ``explained = 1 − ‖(W − E_c) X_k‖² / ‖W X_k‖²`` (reactivation: 1 on
        own inputs). With controls, for each of these and each sham kind: mean, _sd, _z, _p.
    """
    _same_model(subject, atlas)
    _check(controls, strength)
    chosen, names = atlas.select(layers), _names(atlas, concepts)
    held = record(atlas.model, subject.concepts.held_out(), layers=chosen, progress=progress)
    seeds = [seed + i for i in range(controls)]
    if shams is None:
        shams = subset_shams(subject, atlas, seeds, names, progress)
    frames = []
    for done, layer in enumerate(chosen, start=1):
        frames.append(_layer_responses(subject, atlas, layer, names, held, strength, seeds, shams))
        if progress is not None:
            progress(done, len(chosen), f"measuring {layer}")
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
) -> pd.DataFrame:
    names = list(subject.concepts)
    probes = _Probes(atlas, layer, held, names)
    unit = {layer: 1.0}
    noise = [probes.answer(matrix) for s in seeds for _, matrix in gaussian_matrices(atlas, unit, s)]
    subsets: dict[int, list[dict[str, np.ndarray]]] = {}
    for sham in shams.values():
        if id(sham) not in subsets:
            found = [probes.answer(sham.dense(layer, name, strength)) for name in sham.concepts]
            subsets[id(sham)] = [probes.measures(*pair) for pair in found]
    frames = []
    for concept in concepts:
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
                    _add_control(frame, f"{measure}_{kind}", effect, [a[measure] for a in answers])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def specificity(subject: Subject, atlas: Atlas, **options: Any) -> pd.DataFrame:
    """Return ``value = ‖E_c X_k‖ / ‖W X_k‖`` per layer, concept and probe; ``base`` is W's own, 1.

    Options and control columns as in `responses`.
    """
    return _one_measure(responses(subject, atlas, **options), "ratio")


def reactivation(subject: Subject, atlas: Atlas, **options: Any) -> pd.DataFrame:
    """Return ``value``, the cosine of ``E_c X_k`` and ``W X_k``, and the explained response.

    Options and control columns as in `responses`.
    """
    table = responses(subject, atlas, **options)
    frame = _one_measure(table, "cosine")
    frame.insert(5, "explained", table["explained"])
    return frame


def _one_measure(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    frame = table[["layer", "concept", "probe"]].copy()
    frame["value"] = table[measure]
    frame["base"] = 1.0
    for column in table.columns:
        if column.startswith(measure + "_"):
            frame[column.removeprefix(measure + "_")] = table[column]
    return frame


# -- function of the model ----------------------------------------------------------------------


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
        shams: what `subset_shams` returned for the same seeds, if it was called before.
        progress: called with (done, total, text).

    Returns:
        Columns: concept, probe, score, base, delta = score − base, says (share of the probe's inputs
        answered with the concept), selective (the concept's own loss less the mean loss of the others;
        one value per concept), and per sham kind: mean score, _sd, _z, _p. z and p hold the loss
        ``base − score`` against the shams' losses, and ``selective`` against theirs.
    """
    options = {"scaling": scaling, "layers": layers}
    edits = {c: Edit.of(atlas, erase={c: strength}, **options) for c in _names(atlas, concepts)}  # type: ignore[arg-type]
    return _function(subject, atlas, edits, "loss", controls, seed, shams, progress)


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
    shams: dict[str, Atlas] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure gain of function: the task score of every probe when each concept is kept alone.

    ``says`` tells how much a score is worth: a model that answers the concept to everything scores 1 on
    it and proves nothing. Compare it with ``says`` on the other probes; ``selective`` is the own score less
    the mean of that. Arguments as in `necessity`; `null` is what keeping starts from (SCIENCE.md section 1).
    z and p hold the score, and ``selective``, against the shams'.
    """
    options = {"null": null, "layers": layers}
    edits = {c: Edit.of(atlas, keep={c: strength}, **options) for c in _names(atlas, concepts)}  # type: ignore[arg-type]
    return _function(subject, atlas, edits, "gain", controls, seed, shams, progress)


def _names(atlas: Atlas, concepts: Iterable[str] | None) -> list[str]:
    if concepts is None:
        return list(atlas.concepts)
    names = [concepts] if isinstance(concepts, str) else list(concepts)
    if not names:
        raise DataError("concepts names none to measure; leave it out to measure all.")
    for name in names:
        atlas[name]  # raises for an unknown one
    return names


def _function(
    subject: Subject,
    atlas: Atlas,
    edits: dict[str, Edit],
    effect: Literal["loss", "gain"],
    controls: int,
    seed: int,
    shams: dict[str, Atlas] | None,
    progress: Progress | None,
) -> pd.DataFrame:
    _same_model(subject, atlas)
    _check(controls)
    probes = list(subject.concepts)
    seeds = [seed + i for i in range(controls)]
    if shams is None:
        shams = subset_shams(subject, atlas, seeds, list(edits), progress)
    total = len(edits) * (1 + controls) + controls * len({id(a) for a in shams.values()})
    done = 0

    def measure(model: nn.Module, text: str) -> Scores:
        nonlocal done
        scores = subject.task.measure(model, subject.concepts)
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
        selective = _selective(scores, base, concept, probes, effect)
        frame["selective"] = selective
        if controls:
            sizes = edit_sizes(atlas, edit)
            noise = [
                measure(gaussian_view(atlas, edit, s, model=subject.model, sizes=sizes), f"sham of {concept}")
                for s in seeds
            ]
            sham = shams[concept]
            if id(sham) not in subset_scores:
                subset_scores[id(sham)] = _subset_scores(sham, edit, measure)
            for kind, found in zip(_SHAMS, (noise, subset_scores[id(sham)]), strict=True):
                values = [np.array([s.score[p] for p in probes]) for s in found]
                _add_control(frame, kind, frame["score"].to_numpy(), values, falls=effect == "loss")
                shamed = [_selective(s, base, concept, probes, effect) for s in found]
                for tail, value in zip(_TAILS.values(), significance(selective, shamed), strict=True):
                    frame[f"selective_{kind}{tail}"] = value
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _says(scores: Scores, probe: str, concept: str) -> float:
    """Return the share of a probe's inputs answered with a concept; NaN if the task cannot say."""
    said = scores.says.get(probe)
    return math.nan if said is None else said.get(concept, 0.0)


def _selective(
    scores: Scores, base: Scores, concept: str, probes: Sequence[str], effect: Literal["loss", "gain"]
) -> float:
    """Return how much more the concept itself is affected than the others are on average.

    An edit that destroys the model loses everything, the concept too; this is what it cannot imitate.
    """
    others = [p for p in probes if p != concept]
    if concept not in probes or not others:
        return math.nan
    if effect == "loss":
        lost = {p: base.score[p] - scores.score[p] for p in probes}
        return lost[concept] - float(np.mean([lost[p] for p in others]))
    return scores.score[concept] - float(np.mean([_says(scores, p, concept) for p in others]))


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


def subset_shams(
    subject: Subject,
    atlas: Atlas,
    seeds: Sequence[int],
    concepts: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Atlas]:
    """Return, for every concept, the atlas of random subsets of its size (empty without seeds).

    Concepts of one size share one atlas.
    """
    if not seeds:
        return {}
    by_size: dict[int, Atlas] = {}
    found = {}
    for concept in _names(atlas, concepts):
        size = atlas.counts[concept]
        if size not in by_size:
            by_size[size] = subset_atlas(atlas, subject.concepts, size=size, seeds=seeds, progress=progress)
        found[concept] = by_size[size]
    return found


def _add_control(
    frame: pd.DataFrame, label: str, effect: np.ndarray, shams: Sequence[np.ndarray], *, falls: bool = False
) -> None:
    """Add mean, _sd, _z and _p of shams to a table; with `falls`, a lower value is the stronger effect."""
    sign = -1.0 if falls else 1.0
    table = np.stack(shams)
    found = [significance(sign * e, sign * table[:, i]) for i, e in enumerate(effect)]
    frame[label] = [sign * mean for mean, *_ in found]
    frame[f"{label}_sd"] = [deviation for _, deviation, *_ in found]
    frame[f"{label}_z"] = [z for *_, z, _ in found]
    frame[f"{label}_p"] = [p for *_, p in found]


def _check(controls: int, strength: float = 1.0) -> None:
    """Refuse what would fail only after minutes of measuring."""
    if controls < 0 or controls == 1:
        raise DataError(f"controls must be 0, or at least 2 for a spread; found {controls}.")
    try:
        finite = math.isfinite(strength)
    except TypeError:
        finite = False
    if not finite:
        raise DataError(f"The strength must be a finite number; found {strength!r}.")


def _same_model(subject: Subject, atlas: Atlas) -> None:
    try:
        atlas.identity.check(subject.model)
    except ModelMismatchError as error:
        raise ModelMismatchError(f"The atlas and the subject do not belong together. {error}") from None


# -- all four -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Criteria:
    """The four tables and the settings they were measured with.

    Attributes:
        specificity, reactivation, sufficiency, necessity: see the functions of these names.
        settings: strength, scaling, sharpness, seed, controls, layers, model_hash.
    """

    specificity: pd.DataFrame
    reactivation: pd.DataFrame
    sufficiency: pd.DataFrame
    necessity: pd.DataFrame
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data with stable keys (`engram criteria --json` prints it).

        ``necessity`` and ``sufficiency``: base[probe], matrix[concept][probe], says[concept][probe],
        selective[concept],
        control[concept][probe] (mean score under Gaussian edits of the same norm) and
        controls[kind][statistic][concept][probe]. ``specificity`` and ``reactivation``:
        layers[layer][concept][probe], control likewise, and controls[kind][statistic][layer][…].
        """
        found: dict[str, Any] = {
            "necessity": _function_dict(self.necessity),
            "sufficiency": _function_dict(self.sufficiency),
            "specificity": _response_dict(self.specificity),
            "reactivation": _response_dict(self.reactivation),
        }
        found["reactivation"]["explained"] = _by_layer(self.reactivation, "explained")
        return found | self.settings


def _number(value: float) -> float | None:
    """JSON knows no infinity and no NaN."""
    return float(value) if math.isfinite(value) else None


def _matrix(frame: pd.DataFrame, column: str) -> dict[str, dict[str, float | None]]:
    return {
        concept: {p: _number(v) for p, v in zip(rows["probe"], rows[column], strict=True)}
        for concept, rows in frame.groupby("concept", sort=False)
    }


def _by_layer(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    return {layer: _matrix(rows, column) for layer, rows in frame.groupby("layer", sort=False)}


def _function_dict(frame: pd.DataFrame) -> dict[str, Any]:
    first = frame[frame["concept"] == frame["concept"].iloc[0]]
    found: dict[str, Any] = {
        "base": {p: _number(v) for p, v in zip(first["probe"], first["base"], strict=True)},
        "matrix": _matrix(frame, "score"),
        "says": _matrix(frame, "says"),
        "selective": _per_concept(frame, "selective"),
    }
    if "gaussian" in frame:
        found["control"] = _matrix(frame, "gaussian")
        found["controls"] = _controls_dict(frame, _matrix)
        for kind in _SHAMS:
            found["controls"][kind]["selective"] = {
                name: _per_concept(frame, f"selective_{kind}{tail}") for name, tail in _TAILS.items()
            }
    return found


def _per_concept(frame: pd.DataFrame, column: str) -> dict[str, float | None]:
    first = frame.drop_duplicates("concept")
    return {c: _number(v) for c, v in zip(first["concept"], first[column], strict=True)}


def _response_dict(frame: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {"layers": _by_layer(frame, "value")}
    if "gaussian" in frame:
        found["control"] = _by_layer(frame, "gaussian")
        found["controls"] = _controls_dict(frame, _by_layer)
    return found


def _controls_dict(frame: pd.DataFrame, shape: Any) -> dict[str, Any]:
    return {kind: {n: shape(frame, kind + tail) for n, tail in _TAILS.items()} for kind in _SHAMS}


def criteria(
    subject: Subject,
    atlas: Atlas,
    *,
    strength: float = 1.0,
    scaling: str = "plain",
    layers: str | Iterable[str] | None = None,
    concepts: Iterable[str] | None = None,
    controls: int = CONTROL_SEEDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Criteria:
    """Measure all four criteria with one set of options (see the single functions).

    Keeping is always from nothing and at strength 1; the strength is that of erasing and of the engram
    whose response is measured.
    """
    _same_model(subject, atlas)
    _check(controls, strength)
    layers = layers if layers is None or isinstance(layers, str) else list(layers)  # it is read four times
    names = _names(atlas, concepts)
    shams = subset_shams(subject, atlas, [seed + i for i in range(controls)], names, progress)
    shared: dict[str, Any] = {
        "layers": layers, "concepts": names, "controls": controls, "seed": seed, "shams": shams,
        "progress": progress,
    }  # fmt: skip
    table = responses(subject, atlas, strength=strength, **shared)
    reactivated = _one_measure(table, "cosine")
    reactivated.insert(5, "explained", table["explained"])
    settings = {
        "strength": float(strength),
        "scaling": scaling,
        "sharpness": {"power": atlas.sharpness.power, "clip": atlas.sharpness.clip},
        "seed": seed,
        "control_seeds": controls,
        "edited_layers": atlas.select(layers),
        "model_hash": atlas.identity.digest,
    }
    return Criteria(
        _one_measure(table, "ratio"),
        reactivated,
        sufficiency(subject, atlas, **shared),
        necessity(subject, atlas, strength=strength, scaling=scaling, **shared),
        settings,
    )
