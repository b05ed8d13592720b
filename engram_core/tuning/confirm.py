"""Hold one setting against concepts that took no part in finding it, and against a sham of its size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError
from ..models.groups import choose_groups
from ..numerics.precision import exactly
from ..progress import Progress, Step, Steps, drain, nested
from ..solving.filters import Sharpness
from .effects import EffectMeter
from .figures import Figures, averaged
from .settings import targets_of

__all__ = ["confirm", "confirm_steps", "sham", "sham_steps"]


@exactly
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
        others: as in `sweep.sweep`.
        seed: as in `sweep.sweep`.
        progress: as in `sweep.sweep`.

    Returns:
        One row per concept (or set): concept, then the figures of `sweep.sweep`. Their mean is the result.

    Raises:
        DataError: if one of the concepts is in `found_on`.
    """
    steps = confirm_steps(
        subject, atlas, setting, concepts=concepts, together=together, layers=layers, found_on=found_on,
        others=others, seed=seed,
    )  # fmt: skip
    return drain(steps, progress)


def confirm_steps(
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
    **work: Any,
) -> Steps[pd.DataFrame]:
    """Do what `confirm` does in steps; the rows so far are their partial results.

    Args:
        subject: as in `confirm`, and so on to `found_on`.
        atlas: engrams of the subject's model.
        setting: what is held against others.
        concepts: erased one at a time.
        together: instead: sets.
        layers: of the setting.
        found_on: where it was found.
        others: that are asked.
        seed: of their draw.
        work: parts and memory; see `effects.EffectMeter`.

    Returns:
        The steps.
    """
    targets = targets_of(atlas, concepts, together)
    seen = {name for target in targets for name in target} & set(found_on)
    if seen:
        raise DataError(
            f"{', '.join(map(repr, sorted(seen)[:5]))} took part in finding the setting, so it confirms "
            "nothing. Draw others, for example with draw_concepts(…, without=found_on)."
        )
    meter = EffectMeter(subject, atlas, targets, others=others, seed=seed, **work)
    about = {"others": others, "seed": seed, "unit": subject.task.unit}
    return _confirming(meter, setting, _layers(atlas, setting, layers), about)


@exactly
def _confirming(
    meter: EffectMeter, setting: Mapping[str, Any], layers: Sequence[str], about: Mapping[str, Any]
) -> Steps[pd.DataFrame]:
    rows: list[dict[str, Any]] = []
    table = _table(rows, about)
    total = len(meter.targets)
    for done, target in enumerate(meter.targets):
        what = f"confirming on {', '.join(target)[:40]}"
        work = _one(meter, setting, layers, target, None)
        figures = yield from nested(work, done=done, total=total, what=what, partial=table)
        rows.append({"concept": ", ".join(target)} | averaged([figures]))
        table = _table(rows, about)
        yield Step(done + 1, total, what, table)
    return table


@exactly
def sham(
    subject: Subject,
    atlas: Atlas,
    setting: Mapping[str, Any],
    *,
    concepts: Iterable[str] | None = None,
    together: Iterable[str] | Iterable[Iterable[str]] | None = None,
    layers: Iterable[str] | None = None,
    seeds: Iterable[int] = range(5),
    others: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure the control of a setting: Gaussian changes as large as its edits in every layer.

    Args:
        subject: model, concepts, task.
        atlas: engrams of the subject's model.
        setting: as in `confirm`.
        concepts: the concepts of the sweep, or
        together: its sets.
        layers: as in `confirm`.
        seeds: of the noise, 0 or more.
        others: that of the sweep, so that the same questions are asked.
        seed: that of the sweep.
        progress: as in `sweep.sweep`.

    Returns:
        One row per seed of the noise: seed, then the figures of `sweep.sweep`, means over the targets.
    """
    steps = sham_steps(
        subject, atlas, setting, concepts=concepts, together=together, layers=layers, seeds=seeds,
        others=others, seed=seed,
    )  # fmt: skip
    return drain(steps, progress)


def sham_steps(
    subject: Subject,
    atlas: Atlas,
    setting: Mapping[str, Any],
    *,
    concepts: Iterable[str] | None = None,
    together: Iterable[str] | Iterable[Iterable[str]] | None = None,
    layers: Iterable[str] | None = None,
    seeds: Iterable[int] = range(5),
    others: int | None = None,
    seed: int = 0,
    **work: Any,
) -> Steps[pd.DataFrame]:
    """Do what `sham` does in steps; the rows so far are their partial results.

    Args:
        subject: as in `sham`, and so on to `seeds`.
        atlas: engrams of the subject's model.
        setting: what is imitated.
        concepts: erased one at a time.
        together: instead: sets.
        layers: of the setting.
        seeds: of the noise.
        others: that are asked.
        seed: of their draw.
        work: parts and memory; see `effects.EffectMeter`.

    Returns:
        The steps.
    """
    targets = targets_of(atlas, concepts, together)
    meter = EffectMeter(subject, atlas, targets, others=others, seed=seed, **work)
    about = {"others": others, "seed": seed, "unit": subject.task.unit}
    return _shams(meter, setting, _layers(atlas, setting, layers), list(seeds), about)


@exactly
def _shams(
    meter: EffectMeter,
    setting: Mapping[str, Any],
    layers: Sequence[str],
    seeds: Sequence[int],
    about: Mapping[str, Any],
) -> Steps[pd.DataFrame]:
    total = len(seeds) * len(meter.targets)
    found: dict[int, list[Figures]] = {seed: [] for seed in seeds}
    rows: list[dict[str, Any]] = []
    table = _table(rows, about)
    done = 0
    # A target's sizes serve all its shams, so the targets come first.
    for target in meter.targets:
        for seed in seeds:
            what = f"random change as large as that of {', '.join(target)[:40]}"
            work = _one(meter, setting, layers, target, seed)
            figures = yield from nested(work, done=done, total=total, what=what, partial=table)
            found[seed].append(figures)
            done += 1
            if target == meter.targets[-1]:
                rows.append({"seed": seed} | averaged(found[seed]))
                table = _table(rows, about)
            yield Step(done, total, what, table)
    return table


def _one(
    meter: EffectMeter,
    setting: Mapping[str, Any],
    layers: Sequence[str],
    target: tuple[str, ...],
    seed: int | None,
) -> Steps[Figures]:
    sharp = Sharpness(float(setting["power"]), bool(setting["clip"]))
    return meter.figures(sharp, meter.edit(setting, layers, target), target, sham=seed)


def _layers(atlas: Atlas, setting: Mapping[str, Any], layers: Iterable[str] | None) -> list[str]:
    group = str(setting["group"])
    return list(layers if layers is not None else choose_groups(atlas.layers, [group])[group])


def _table(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows))
    table.attrs = dict(about)
    return table
