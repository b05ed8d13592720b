"""Find the strength: what is forgotten against what is retained, over settings of an edit.

Strength is not portable between models (docs/science.md section 4), so it is measured: on some concepts, with
`sweep` and `recommend`, and then held against **others**, with `confirm`. A setting that is the best of
many on the concepts it was chosen on looks better there than it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..editing.edit import Edit
from ..errors import DataError
from ..measuring.options import draw_concepts
from ..models.groups import choose_groups
from ..numerics.precision import exactly
from ..progress import Progress, Step, Steps, Stop, drain, nested
from ..solving.filters import Sharpness
from .confirm import confirm, confirm_steps, sham, sham_steps
from .effects import EffectMeter
from .figures import Figures, averaged
from .settings import SETTING, targets_of, with_strength

__all__ = [
    "SETTING",
    "STRENGTHS",
    "Sweep",
    "confirm",
    "confirm_steps",
    "draw_concepts",
    "frontier",
    "sham",
    "sham_steps",
    "sweep",
]

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


@exactly
def sweep(
    subject: Subject,
    atlas: Atlas,
    *,
    concepts: Iterable[str] | None = None,
    together: Iterable[str] | Iterable[Iterable[str]] | None = None,
    strengths: Iterable[float] = STRENGTHS,
    scalings: Iterable[str] = ("plain",),
    sharpness: Iterable[Sharpness] = (Sharpness(),),
    groups: Mapping[str, Iterable[str]] | Iterable[str] | str | None = None,
    others: int | None = None,
    seed: int = 0,
    give_up: float | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> pd.DataFrame:
    """Score the erased and the other concepts at every setting.

    Nothing is solved: a strength is a scalar on the engrams' pairs, on one view per sharpness. Scores are
    those of the task, on its held-out questions or inputs.

    Args:
        subject: model, concepts, task.
        atlas: engrams of the subject's model. Its sharpness is not used.
        concepts: erased one at a time, each figure the mean over them; default all.
        together: instead of `concepts`: names that are erased together, or several such sets.
        strengths: α, each above 0.
        scalings: of ``"plain"`` and ``"adaptive"``.
        sharpness: filters on the exclusivities (docs/science.md section 5).
        groups: which layers; see `groups.choose_groups`.
        others: how many of the other concepts are scored for each erased one, drawn at random once (the
            same ones at every setting); default all of them.
        seed: of that draw.
        give_up: stop raising the strength of a group, scaling and sharpness once the mean loss of the
            others exceeds this; the stronger settings are then not in the table. Default: try them all.
        progress: called with (done, total, text) for every edit that is scored.
        stop: asked before every setting; True ends the sweep with what it has.

    Returns:
        One row per setting: group, scaling, power, clip, strength; ``forget`` (mean score of what was erased)
        and ``base_forget``, ``lost`` = base_forget − forget; ``retain`` (mean score of the others),
        ``base_retain``, ``damage`` = base_retain − retain; ``worst_forget`` (the highest score of an erased
        concept), ``worst_damage`` (the largest mean loss of the others over the erased ones); for every
        detail of the task (``Scores.details``) the same with its name behind, such as ``forget_unseen`` or
        ``damage_nll``, where ``lost`` and ``damage`` of a loss are its rise. ``attrs``: concepts, targets,
        groups, others, seed, unit, skipped.

    Raises:
        DataError: for a strength that is not above 0, or nothing to sweep.
        UnknownNameError: for a concept or group that does not exist.
    """
    work = Sweep(
        subject, atlas, concepts=concepts, together=together, strengths=strengths, scalings=scalings,
        sharpness=sharpness, groups=groups, others=others, seed=seed, give_up=give_up,
    )  # fmt: skip
    return drain(work.steps(stop=stop), progress)


class Sweep:
    """A sweep that is worked through in steps, and has a table of what is known so far.

    Args:
        subject: as in `sweep`, and so on to `give_up`.
        atlas: engrams of the subject's model.
        concepts: erased one at a time.
        together: instead: erased together.
        strengths: to try.
        scalings: to try.
        sharpness: to try.
        groups: of layers, to try.
        others: how many others are scored.
        seed: of their draw.
        give_up: the mean loss of the others beyond which no stronger setting is tried.
        work: parts and memory; see `effects.EffectMeter`.
    """

    def __init__(
        self,
        subject: Subject,
        atlas: Atlas,
        *,
        concepts: Iterable[str] | None = None,
        together: Iterable[str] | Iterable[Iterable[str]] | None = None,
        strengths: Iterable[float] = STRENGTHS,
        scalings: Iterable[str] = ("plain",),
        sharpness: Iterable[Sharpness] = (Sharpness(),),
        groups: Mapping[str, Iterable[str]] | Iterable[str] | str | None = None,
        others: int | None = None,
        seed: int = 0,
        give_up: float | None = None,
        **work: Any,
    ):
        targets = targets_of(atlas, concepts, together)
        self._levels = sorted({_positive(s) for s in strengths})
        self._filters = list(dict.fromkeys(sharpness))
        scales = list(dict.fromkeys(scalings))
        chosen = choose_groups(atlas.layers, groups)
        if not (self._levels and self._filters and scales and chosen):
            raise DataError("A sweep needs at least one strength, scaling, sharpness and group of layers.")
        self.meter = EffectMeter(subject, atlas, targets, others=others, seed=seed, **work)
        # Every name and scaling is checked before minutes of measuring.
        self._edits = {
            (group, scaling): Edit.of(atlas, erase=targets[0], scaling=scaling, layers=list(members))
            for group, members in chosen.items()
            for scaling in scales
        }
        self._give_up = give_up
        self._rows: list[dict[str, Any]] = []
        self._skipped = 0
        self._ended = False
        self._about = {
            "concepts": sorted({name for target in targets for name in target}),
            "targets": [list(target) for target in targets],
            "groups": {name: list(edit.layers) for (name, _), edit in self._edits.items()},
            "others": others,
            "seed": seed,
            "unit": subject.task.unit,
        }

    @property
    def settings(self) -> int:
        """How many settings there are to try."""
        return len(self._edits) * len(self._filters) * len(self._levels)

    @exactly
    def steps(self, *, stop: Stop | None = None, only_known: bool = False) -> Steps[pd.DataFrame]:
        """Try one setting after the other; what is known already takes no time.

        Args:
            stop: asked before every setting; True ends the sweep with what it has.
            only_known: measure nothing, and leave out the settings that are not known yet.

        Yields:
            The table so far; another one when a setting was added.

        Returns:
            The table so far, one row per setting.
        """
        done, total = 0, self.settings * len(self.meter.targets)
        self._rows, self._skipped, self._ended = [], 0, False
        table = self.table()
        missing = False
        for sharp in self._filters:
            for (group, scaling), edit in self._edits.items():
                for place, strength in enumerate(self._levels):
                    if stop is not None and stop():
                        return self.table()
                    if only_known and not self._known(sharp, edit, strength):
                        missing = True
                        continue
                    names = (group, scaling, sharp.power, sharp.clip, strength)
                    what = f"{group}, {scaling}, {_filter(sharp)}, α = {strength:g}"
                    found: list[Figures] = []
                    for target in self.meter.targets:
                        there = with_strength(edit, target, strength)
                        figures = yield from nested(
                            self.meter.figures(sharp, there, target), done=done + len(found), total=total,
                            what=what, partial=table,
                        )  # fmt: skip
                        found.append(figures)
                        yield Step(done + len(found), total, what, table)
                    done += len(found)
                    self._rows.append(dict(zip(SETTING, names, strict=True)) | averaged(found))
                    table = self.table()
                    beyond = self._give_up is not None and self._rows[-1]["damage"] > self._give_up
                    if beyond:
                        left = len(self._levels) - place - 1
                        self._skipped, done = self._skipped + left, done + left * len(self.meter.targets)
                    yield Step(done, total, what, table)
                    if beyond:
                        break
        self._ended = not missing
        return self.table()

    def _known(self, sharp: Sharpness, edit: Edit, strength: float) -> bool:
        return all(
            self.meter.known(sharp, with_strength(edit, target, strength), target) is not None
            for target in self.meter.targets
        )

    @property
    def ended(self) -> bool:
        """Whether the last run of `steps` went through every setting."""
        return self._ended

    def table(self) -> pd.DataFrame:
        """Return what is known so far, as `sweep` returns it."""
        table = pd.DataFrame(self._rows)
        table.attrs = self._about | {"skipped": self._skipped, "stopped": not self._ended}
        return table


def frontier(table: pd.DataFrame, *, measure: str = "score") -> pd.DataFrame:
    """Return the settings that no other one beats: none loses as much at less damage, or more at the same.

    Args:
        table: from `sweep`.
        measure: ``"score"``, or a detail of the task such as ``"nll"``.

    Returns:
        Rows of the table, from the least damage to the most.
    """
    lost, damage = columns_of(table, measure)
    ordered = table.dropna(subset=[lost, damage]).sort_values([damage, lost], ascending=[True, False])
    best = ordered[lost].cummax().shift(fill_value=-math.inf)
    return ordered[ordered[lost] > best]


def columns_of(table: pd.DataFrame, measure: str) -> tuple[str, str]:
    """Return the names of the columns "lost" and "damage" of a measure."""
    tail = "" if measure == "score" else f"_{measure}"
    if table.empty:
        raise DataError("The sweep's table is empty: it was stopped before its first setting was measured.")
    if f"lost{tail}" not in table:
        known = ["score", *(c.removeprefix("lost_") for c in table.columns if c.startswith("lost_"))]
        raise DataError(f"This task has no measure {measure!r}; it has {', '.join(known)}.")
    return f"lost{tail}", f"damage{tail}"


def _positive(strength: float) -> float:
    if not (math.isfinite(strength) and strength > 0):
        raise DataError(f"A strength to try must be a number above 0; found {strength!r}.")
    return float(strength)


def _filter(sharp: Sharpness) -> str:
    return f"μ^{sharp.power:g}{' capped' if sharp.clip else ''}"
