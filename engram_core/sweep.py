"""Find the strength: what is forgotten against what is retained, over settings of an edit.

Strength is not portable between models (SCIENCE.md section 4), so it is measured: on some concepts, with
`sweep` and `recommend`, and then held against **others**, with `confirm`. A setting that is the best of
many on the concepts it was chosen on looks better there than it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from .editing import Edit, LiveEdit, apply_edit, live_edit
from .engram import Atlas
from .errors import DataError
from .groups import choose_groups
from .measuring import check_subject, draw_concepts, draw_others
from .recording import Progress
from .spectrum import Sharpness
from .tasks import Scores, Subject

__all__ = ["SETTING", "STRENGTHS", "confirm", "draw_concepts", "frontier", "sweep"]

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
SETTING = ("group", "scaling", "power", "clip", "strength")
"""The columns of a table that name a setting."""

Target = tuple[str, ...]


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
    stop: Callable[[], bool] | None = None,
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
        sharpness: filters on the exclusivities (SCIENCE.md section 5).
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
    check_subject(subject, atlas)
    targets = _targets(atlas, concepts, together)
    levels = sorted({_positive(s) for s in strengths})
    filters, scales = list(dict.fromkeys(sharpness)), list(dict.fromkeys(scalings))
    chosen = choose_groups(atlas.layers, groups)
    if not (levels and filters and scales and chosen):
        raise DataError("A sweep needs at least one strength, scaling, sharpness and group of layers.")
    trial = _Trial(subject, targets, others, seed)
    # Every name and scaling is checked before minutes of measuring.
    edits = {
        (group, scaling): Edit.of(atlas, erase=targets[0], scaling=scaling, layers=list(members))
        for group, members in chosen.items()
        for scaling in scales
    }
    total, done, skipped = len(edits) * len(filters) * len(levels) * len(targets), 0, 0
    rows: list[dict[str, Any]] = []
    stopped = False
    for sharp in filters:
        view = apply_edit(atlas.sharpen(sharp.power, clip=sharp.clip), next(iter(edits.values())))
        for (group, scaling), edit in edits.items():
            for place, strength in enumerate(levels):
                stopped = stopped or (stop is not None and stop())
                if stopped:
                    break
                setting = dict(zip(SETTING, (group, scaling, sharp.power, sharp.clip, strength), strict=True))
                found = []
                for target in targets:
                    found.append(trial.score(view, edit, target, strength))
                    done += 1
                    if progress is not None:
                        progress(done, total, f"{group}, {scaling}, {_filter(sharp)}, α = {strength:g}")
                rows.append(setting | _averaged(found))
                if give_up is not None and rows[-1]["damage"] > give_up:
                    left = len(levels) - place - 1
                    skipped, done = skipped + left, done + left * len(targets)
                    break
    table = pd.DataFrame(rows)
    table.attrs = {
        "concepts": sorted({name for target in targets for name in target}),
        "targets": [list(target) for target in targets],
        "groups": {name: list(edit.layers) for (name, _), edit in edits.items()},
        "others": others,
        "seed": seed,
        "unit": subject.task.unit,
        "skipped": skipped,
        "stopped": stopped,
    }
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


def confirm(
    subject: Subject,
    atlas: Atlas,
    setting: Mapping[str, Any],
    *,
    concepts: Iterable[str] | None = None,
    together: Iterable[str] | Iterable[Iterable[str]] | None = None,
    layers: Iterable[str] | None = None,
    found_on: Iterable[str] = (),
    others: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure one setting on concepts it was not chosen on.

    Args:
        subject: model, concepts, task.
        atlas: engrams of the subject's model.
        setting: the columns `SETTING`: a row of a sweep's table, or ``Recommendation.setting``.
        concepts: erased one at a time.
        together: instead of `concepts`: sets that are erased together.
        layers: the layers of the setting's group; default: looked up by its name.
        found_on: the concepts that the setting was chosen on.
        others: as in `sweep`.
        seed: as in `sweep`.
        progress: as in `sweep`.

    Returns:
        One row per concept (or set): concept, then the figures of `sweep`. Their mean is the result.

    Raises:
        DataError: if one of the concepts is in `found_on`.
    """
    check_subject(subject, atlas)
    targets = _targets(atlas, concepts, together)
    seen = {name for target in targets for name in target} & set(found_on)
    if seen:
        raise DataError(
            f"{', '.join(map(repr, sorted(seen)[:5]))} took part in finding the setting, so it confirms "
            "nothing. Draw others, for example with draw_concepts(…, without=found_on)."
        )
    group = str(setting["group"])
    members = layers if layers is not None else choose_groups(atlas.layers, [group])[group]
    sharp = atlas.sharpen(float(setting["power"]), clip=bool(setting["clip"]))
    edit = Edit.of(sharp, erase=targets[0], scaling=str(setting["scaling"]), layers=list(members))
    trial, view, rows = _Trial(subject, targets, others, seed), apply_edit(sharp, edit), []
    for done, target in enumerate(targets, start=1):
        found = trial.score(view, edit, target, float(setting["strength"]))
        rows.append({"concept": ", ".join(target)} | _averaged([found]))
        if progress is not None:
            progress(done, len(targets), f"confirming on {', '.join(target)[:40]}")
    table = pd.DataFrame(rows)
    table.attrs = {"others": others, "seed": seed, "unit": subject.task.unit}
    return table


def columns_of(table: pd.DataFrame, measure: str) -> tuple[str, str]:
    """Return the names of the columns "lost" and "damage" of a measure."""
    tail = "" if measure == "score" else f"_{measure}"
    if table.empty:
        raise DataError("The sweep's table is empty: it was stopped before its first setting was measured.")
    if f"lost{tail}" not in table:
        known = ["score", *(c.removeprefix("lost_") for c in table.columns if c.startswith("lost_"))]
        raise DataError(f"This task has no measure {measure!r}; it has {', '.join(known)}.")
    return f"lost{tail}", f"damage{tail}"


@dataclass(frozen=True)
class _Figures:
    """Means over what was erased and over the others, by measure; the base model's beside them."""

    forget: dict[str, tuple[float, float]]
    retain: dict[str, tuple[float, float]]
    highest: float


class _Trial:
    """Which concepts are scored for which target, and the base model's scores of them."""

    def __init__(self, subject: Subject, targets: Sequence[Target], others: int | None, seed: int):
        self.subject = subject
        self.others: dict[Target, list[str]] = {}
        names = list(subject.concepts)
        for place, target in enumerate(targets):
            self.others[target] = draw_others(names, target, others, seed=(seed, place))
            if not self.others[target]:
                raise DataError("All concepts are erased together; leave some, so that damage can be seen.")
        needed = {name for target in targets for name in (*target, *self.others[target])}
        self.base = self._measure(subject.model, [name for name in names if name in needed])

    def _measure(self, model: nn.Module, probes: Iterable[str]) -> Scores:
        return self.subject.task.measure(model, self.subject.concepts, probes)

    def score(self, view: nn.Module, edit: Edit, target: Target, strength: float) -> _Figures:
        control: LiveEdit = live_edit(view)
        control.set(replace(edit, erase=tuple((name, strength) for name in target)))
        others = self.others[target]
        found = self._measure(view, [*target, *others])
        forget: dict[str, tuple[float, float]] = {}
        retain: dict[str, tuple[float, float]] = {}
        for name, values in self._measures(found):
            bases = self.base.score if name == "score" else self.base.details.get(name, {})
            for side, members in ((forget, target), (retain, others)):
                known = [m for m in members if m in values]
                side[name] = (_mean(values, known), _mean(bases, known))
        return _Figures(forget, retain, max(found.score[name] for name in target))

    @staticmethod
    def _measures(scores: Scores) -> Iterator[tuple[str, dict[str, float]]]:
        yield "score", scores.score
        yield from scores.details.items()


def _mean(values: Mapping[str, float], names: Sequence[str]) -> float:
    return sum(values[name] for name in names) / len(names) if names else math.nan


def _averaged(found: Sequence[_Figures]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name in found[0].forget:
        tail = "" if name == "score" else f"_{name}"
        sign = -1.0 if "nll" in name else 1.0
        sides = [np.array([f.forget[name] for f in found]), np.array([f.retain[name] for f in found])]
        for label, gap, values in zip(("forget", "retain"), ("lost", "damage"), sides, strict=True):
            now, before = _mean_known(values[:, 0]), _mean_known(values[:, 1])
            row |= {label + tail: now, f"base_{label}{tail}": before, gap + tail: sign * (before - now)}
        if name == "score":
            row["worst_forget"] = max(f.highest for f in found)
            row["worst_damage"] = float((sides[1][:, 1] - sides[1][:, 0]).max())
    return row


def _mean_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _targets(
    atlas: Atlas,
    concepts: Iterable[str] | None,
    together: Iterable[str] | Iterable[Iterable[str]] | None,
) -> list[Target]:
    targets: list[Target]
    if together is None:
        names = list(atlas) if concepts is None else [concepts] if isinstance(concepts, str) else concepts
        targets = [(name,) for name in dict.fromkeys(names)]
    elif concepts is not None:
        raise DataError("Give either concepts, to erase one at a time, or together.")
    else:
        parts: list[Any] = [together] if isinstance(together, str) else list(together)
        sets = [parts] if all(isinstance(part, str) for part in parts) else parts
        targets = [tuple(dict.fromkeys([part] if isinstance(part, str) else part)) for part in sets]
    if not targets or not all(targets):
        raise DataError("There is no concept to erase; name at least one.")
    for target in targets:
        for name in target:
            atlas[name]  # raises for an unknown one
    return targets


def _positive(strength: float) -> float:
    if not (math.isfinite(strength) and strength > 0):
        raise DataError(f"A strength to try must be a number above 0; found {strength!r}.")
    return float(strength)


def _filter(sharp: Sharpness) -> str:
    return f"μ^{sharp.power:g}{' clipped' if sharp.clip else ''}"
