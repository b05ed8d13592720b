"""The four criteria, measured on held-out inputs, as tidy tables (SCIENCE.md section 2).

Specificity and reactivation are about one layer's response; sufficiency and necessity score the task
itself. Every table has one row per concept (whose engram it is) and probe (whose inputs are tested).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .engram import Atlas
from .gain_loss import necessity, sufficiency
from .measuring import (
    CONTROL_SEEDS,
    SHAMS,
    TAILS,
    check_options,
    check_subject,
    chosen_concepts,
    subset_shams,
)
from .recording import Progress
from .responses import one_measure, reactivation, reactivation_of, responses, specificity
from .tasks import Subject

__all__ = ["Criteria", "criteria", "necessity", "reactivation", "responses", "specificity", "sufficiency"]


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
        for kind in SHAMS:
            found["controls"][kind]["selective"] = {
                name: _per_concept(frame, f"selective_{kind}{tail}") for name, tail in TAILS.items()
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
    return {kind: {n: shape(frame, kind + tail) for n, tail in TAILS.items()} for kind in SHAMS}


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
    check_subject(subject, atlas)
    check_options(controls, strength)
    layers = layers if layers is None or isinstance(layers, str) else list(layers)  # it is read four times
    names = chosen_concepts(atlas, concepts)
    shams = subset_shams(subject, atlas, [seed + i for i in range(controls)], names, progress)
    shared: dict[str, Any] = {
        "layers": layers, "concepts": names, "controls": controls, "seed": seed, "shams": shams,
        "progress": progress,
    }  # fmt: skip
    table = responses(subject, atlas, strength=strength, **shared)
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
        one_measure(table, "ratio"),
        reactivation_of(table),
        sufficiency(subject, atlas, **shared),
        necessity(subject, atlas, strength=strength, scaling=scaling, **shared),
        settings,
    )
