"""The four criteria, measured on held-out inputs, as tidy tables (docs/science.md section 2).

Specificity and reactivation are about one layer's response; sufficiency and necessity score the task
itself. Every table has one row per concept (whose engram it is) and probe (whose inputs are tested).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..numerics.precision import exactly
from ..progress import Memory, Progress, Recent, Step, drain
from ..solving.choosing import chosen_concepts
from .criteria_data import finite_number, function_data, layer_means, layers_data, response_data
from .function import (
    function_steps,
    necessity,
    necessity_edits,
    sufficiency,
    sufficiency_edits,
)
from .layer_responses import (
    one_measure,
    reactivation,
    reactivation_of,
    responses,
    responses_steps,
    specificity,
)
from .options import check_options, check_subject
from .shams import subset_shams_steps
from .significance import CONTROL_SEEDS, SHAMS

__all__ = [
    "Criteria",
    "criteria",
    "criteria_steps",
    "necessity",
    "reactivation",
    "responses",
    "specificity",
    "sufficiency",
]


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

    def to_dict(self, *, full: bool = True) -> dict[str, Any]:
        """Return plain data with stable keys (`engram criteria --json` prints it).

        Args:
            full: False leaves out the layer × concept × probe matrices of ``specificity`` and
                ``reactivation``, which are megabytes for a hundred concepts; means per layer remain.

        ``necessity`` and ``sufficiency``: base[probe], matrix[concept][probe], says[concept][probe],
        selective[concept],
        control[concept][probe] (mean score under Gaussian edits of the same norm) and
        controls[kind][statistic][concept][probe]. ``specificity`` and ``reactivation``:
        layers[layer][concept][probe], control likewise, and controls[kind][statistic][layer][…].
        ``summary`` averages over concepts (see `summary`); ``details`` of necessity and sufficiency hold
        what else the task measures, as base[probe] and matrix[concept][probe]. ``specificity`` and
        ``reactivation`` also have means[layer]: ``own`` and ``others``, and each sham's (``own_gaussian`` …).
        """
        found: dict[str, Any] = {
            "necessity": function_data(self.necessity),
            "sufficiency": function_data(self.sufficiency),
            "specificity": {"means": layer_means(self.specificity)},
            "reactivation": {"means": layer_means(self.reactivation)},
        }
        if full:
            found["specificity"] |= response_data(self.specificity)
            found["reactivation"] |= response_data(self.reactivation)
            found["reactivation"]["explained"] = layers_data(self.reactivation, "explained")
        return {"summary": self.summary()} | found | self.settings

    def summary(self) -> dict[str, float | None]:
        """Return figures averaged over the concepts whose engrams were measured; None if not defined.

        ``erased``: mean score of the erased concept; ``erased_worst``: the highest; ``others``: mean score of
        all others; ``others_loss``, ``others_worst_loss`` (the largest loss of one concept when another is
        erased) and ``others_worst_mean`` (the lowest mean of the others); ``kept``: score of the concept kept
        alone; ``selective``; what else the task measures of recall (``unseen``, ``nll``, ``nll_unseen``,
        ``first``, ``first_unseen``, see `language.Recall.measure`); each base beside it; and, with
        controls, ``erased_gaussian``, ``others_gaussian``, ``selective_gaussian``, the same for
        ``subset``, and the largest p over concepts as ``…_p``.
        """
        lost, kept = self.necessity, self.sufficiency
        own, other = lost[lost["concept"] == lost["probe"]], lost[lost["concept"] != lost["probe"]]
        alone = kept[kept["concept"] == kept["probe"]]
        found = {
            "erased": own["score"].mean(),
            "erased_base": own["base"].mean(),
            "erased_worst": own["score"].max(),
            "others": other["score"].mean(),
            "others_base": other["base"].mean(),
            "others_loss": -other["delta"].mean(),
            "others_worst_loss": -other["delta"].min(),
            "others_worst_mean": other.groupby("concept")["score"].mean().min(),
            "kept": alone["score"].mean(),
            "selective": own["selective"].mean(),
        }
        for name in ("unseen", "nll", "nll_unseen", "first", "first_unseen"):
            if name in lost:
                found |= {name: own[name].mean(), f"{name}_base": own[f"base_{name}"].mean()}
                found[f"others_{name}"] = other[name].mean()
        for kind in SHAMS:
            if kind in lost:
                found |= {
                    f"erased_{kind}": own[kind].mean(),
                    f"others_{kind}": other[kind].mean(),
                    f"selective_{kind}": own[f"selective_{kind}"].mean(),
                    f"selective_{kind}_p": own[f"selective_{kind}_p"].max(),
                }
        return {name: finite_number(value) for name, value in found.items()}


@exactly
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
    sham_others: int | None = None,
    progress: Progress | None = None,
) -> Criteria:
    """Measure all four criteria with one set of options (see the single functions).

    Keeping is always from nothing and at strength 1; the strength is that of erasing and of the engram
    whose response is measured.

    Returns:
        The four tables, with their shams and settings.
    """
    work = criteria_steps(
        subject, atlas, strength=strength, scaling=scaling, layers=layers, concepts=concepts,
        controls=controls, seed=seed, sham_others=sham_others,
    )  # fmt: skip
    return drain(work, progress)


@exactly
def criteria_steps(
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
    memory: Memory | None = None,
) -> Generator[Step[Any], None, Criteria]:
    """Do what `criteria` does in steps.

    Args:
        subject: as in `criteria`, and so on to `sham_others`.
        atlas: the engrams.
        strength: of erasing and of the engrams' responses.
        scaling: of erasing.
        layers: which layers.
        concepts: whose engrams.
        controls: shams of each kind.
        seed: of the first sham.
        sham_others: as in `necessity`.
        memory: as in `scores.Scorer`.

    Yields:
        The steps of the random subsets, the responses, sufficiency and necessity, one after the other, with
        their own totals and partial results.

    Returns:
        The result of `criteria`.
    """
    check_subject(subject, atlas)
    check_options(controls, strength)
    memory = Recent() if memory is None else memory
    layers = layers if layers is None or isinstance(layers, str) else list(layers)  # it is read four times
    names = chosen_concepts(atlas, concepts)
    erasing = necessity_edits(atlas, names, strength=strength, scaling=scaling, layers=layers)
    keeping = sufficiency_edits(atlas, names, layers=layers)
    shams = yield from subset_shams_steps(
        subject.concepts,
        atlas,
        [seed + i for i in range(controls)],
        names,
        layers=atlas.select(layers),
        memory=memory,
    )
    shared: dict[str, Any] = {"controls": controls, "seed": seed, "shams": shams, "memory": memory}
    table = yield from responses_steps(
        subject, atlas, strength=strength, layers=layers, concepts=names, **shared
    )
    shared["sham_others"] = sham_others
    kept = yield from function_steps(subject, atlas, keeping, "gain", **shared)
    erased = yield from function_steps(subject, atlas, erasing, "loss", **shared)
    settings = {
        "strength": float(strength),
        "scaling": scaling,
        "sharpness": {"power": atlas.sharpness.power, "clip": atlas.sharpness.clip},
        "seed": seed,
        "control_seeds": controls,
        "sham_others": sham_others,
        "edited_layers": atlas.select(layers),
        "model_hash": atlas.identity.digest,
    }
    return Criteria(
        one_measure(table, "ratio"), reactivation_of(table), kept.table(), erased.table(), settings
    )
