"""`engram criteria`: the four criteria, measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
import typer

from ..concepts.tasks import Subject
from ..errors import EngramError
from ..measuring.criteria import Criteria
from ..measuring.criteria import criteria as measure_criteria
from ..measuring.kept_alone import ALL_LAYERS, sufficiency_by_layer
from ..measuring.significance import CONTROL_SEEDS
from .edit import layers_of
from .engrams import EngramOptions
from .grouping import grouped
from .options import AsJson, Clip, Cut, Layers, ScalingName, Strength, comma_list
from .printing import print_json
from .progress_bar import bar_of_progress
from .subject import DrawOptions, SubjectOptions
from .tables import WIDEST, print_matrix, print_table

__all__ = ["criteria"]

_SHAM_OTHERS = 8  # what controls are scored on beside the concept, where there are more than WIDEST concepts


@dataclass(frozen=True)
class _MeasureOptions:
    """The edit that is measured, and what it is held against."""

    strength: Strength = 1.0
    scaling: ScalingName = "plain"
    sharpness: Annotated[
        float | None,
        typer.Option(
            "--selectivity",
            "--sharpness",
            "--power",
            help="The filter's exponent; 1 is the paper's engram. Default: 1, or that of --atlas.",
            show_default=False,
        ),
    ] = None
    clip: Clip = False
    layers: Layers = None
    cut: Cut = None
    controls: Annotated[int, typer.Option(help="Controls of each kind; 0 leaves them out.")] = CONTROL_SEEDS
    by_layer: Annotated[
        bool,
        typer.Option("--by-layer", help="Sufficiency also layer by layer, from both starting points."),
    ] = False
    sizes: Annotated[
        str, typer.Option(help="With --by-layer: how many concepts are isolated together, comma-separated.")
    ] = "1"

    def check(self) -> None:
        """Refuse what could only fail after the model was recorded.

        Raises:
            EngramError: naming the option.
        """
        if self.controls == 1 or self.controls < 0:
            raise EngramError(f"--controls must be 0, or at least 2 for a spread; found {self.controls}.")
        self.together()

    def together(self) -> list[int]:
        """Read the option --sizes."""
        try:
            return [int(part) for part in comma_list(self.sizes)]
        except ValueError:
            raise EngramError(
                f"--sizes takes whole numbers separated by commas; found {self.sizes!r}."
            ) from None

    def measured(
        self, subject: Subject, engrams: EngramOptions, names: list[str] | None, seed: int, bar: Any
    ) -> tuple[Criteria, pd.DataFrame | None]:
        """Return the criteria, and with --by-layer the sufficiency of every layer."""
        atlas = engrams.of(subject, bar, cut=self.cut, power=self.sharpness, clip=self.clip)
        layers = layers_of(atlas, self.layers)
        others = _SHAM_OTHERS if _many(subject) else None
        found = measure_criteria(
            subject, atlas, strength=self.strength, scaling=self.scaling, layers=layers, concepts=names,
            controls=self.controls, seed=seed, sham_others=others, progress=bar,
        )  # fmt: skip
        if not self.by_layer:
            return found, None
        return found, sufficiency_by_layer(
            subject, atlas, concepts=names, sizes=self.together(), layers=layers, seed=seed, others=others,
            progress=bar,
        )  # fmt: skip


@grouped
def criteria(
    chosen: SubjectOptions,
    measure: _MeasureOptions,
    engrams: EngramOptions,
    draw: DrawOptions,
    full: Annotated[
        bool, typer.Option("--full", help="With many concepts: every layer's matrices in the JSON too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure specificity, reactivation, sufficiency and necessity on held-out inputs.

    With more than 20 concepts, controls are scored on the erased concept and 8 others drawn at random; the
    effect itself on all. The JSON then has the means of specificity and reactivation per layer; --full adds
    the matrices.
    """
    measure.check()
    engrams.check(cut=measure.cut)
    subject = chosen.open()
    names = draw.names(subject)
    with bar_of_progress() as bar:
        found, by_layer = measure.measured(subject, engrams, names, draw.seed, bar)
    if as_json:
        result: dict[str, Any] = {"model": chosen.model} | found.to_dict(full=full or not _many(subject))
        if by_layer is not None:
            result["sufficiency_by_layer"] = by_layer.to_dict("records")
        print_json(result)
        return
    _print_criteria(chosen.model, found, subject.task.unit)
    if by_layer is not None:
        _print_by_layer(by_layer, subject.task.unit)


def _many(subject: Subject) -> bool:
    return len(subject.concepts) > WIDEST


def _print_by_layer(table: pd.DataFrame, unit: str) -> None:
    rows = table[["layer", "null", "size", "kept", "others", "selective", "base"]]
    print_table(
        "Sufficiency: isolated in one layer, the others untouched",
        ["layer", "starting point", "concepts", "isolated", "others", "isolated − others", "base"],
        rows.to_numpy(object).tolist(),
        caption=f"{unit}; {ALL_LAYERS}: isolated in every layer at once",
    )


def _print_criteria(model: str, found: Criteria, unit: str) -> None:
    necessity, sufficiency = found.necessity, found.sufficiency
    # Tasks whose answers are no concepts cannot say how often a concept is answered.
    if necessity["probe"].nunique() > WIDEST or sufficiency["says"].isna().all():
        _print_summary(found)
        return
    base = necessity[necessity["concept"] == necessity["concept"].iloc[0]]
    print_table(
        "Base model", list(base["probe"]), [[float(v) for v in base["base"]]],
        caption="score on held-out inputs", digits=2,
    )  # fmt: skip
    print_matrix(
        f"Necessity: {model} without each concept (α = {found.settings['strength']:g})",
        necessity, "score",
        f"row: erased concept; column: {unit} on that concept's held-out inputs; diagonal should fall",
    )  # fmt: skip
    print_matrix(
        "Sufficiency: each concept isolated, from zero weights",
        sufficiency, "says",
        "row: isolated concept; column: share of inputs answered with it (diagonal: its accuracy; "
        "high elsewhere: it answers that to everything)",
    )  # fmt: skip
    _print_summary(found)


_LABELS = {
    "erased": "erased concept, mean score",
    "erased_base": "  the same in the base model",
    "erased_worst": "  the highest of one erased concept",
    "unseen": "erased concept, unseen phrasings",
    "unseen_base": "  the same in the base model",
    "nll": "erased concept, nats per answer token",
    "nll_base": "  the same in the base model",
    "first": "erased concept, first answer token's probability",
    "first_base": "  the same in the base model",
    "first_unseen": "  on unseen phrasings",
    "first_unseen_base": "  the same in the base model",
    "others": "others, mean score",
    "others_loss": "others, mean loss",
    "others_worst_loss": "others, worst loss",
    "kept": "isolated, mean score",
    "erased_gaussian": "control (Gaussian, same norm): erased concept",
    "others_gaussian": "control (Gaussian, same norm): others",
    "erased_subset": "control (random subset, same size): erased concept",
    "others_subset": "control (random subset, same size): others",
    "selective": "selective loss (own − others), mean",
    "selective_gaussian": "  the same for Gaussian controls",
    "selective_subset": "  the same for random subsets",
    "selective_gaussian_p": "  largest p over concepts, Gaussian",
    "selective_subset_p": "  largest p over concepts, random subset",
}


def _print_summary(found: Criteria) -> None:
    summary = found.summary()
    count = found.necessity["concept"].nunique()
    rows = [[label, summary[key]] for key, label in _LABELS.items() if summary.get(key) is not None]
    title = f"Summary: {count} concept{'s' * (count != 1)}, strength {found.settings['strength']:g}"
    print_table(title, ["", "value"], rows)
