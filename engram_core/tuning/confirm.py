"""Hold one setting against concepts that took no part in finding it, and against a sham of its size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError
from ..models.groups import choose_groups
from ..numerics.precision import exactly
from ..progress import Progress
from ..solving.filters import Sharpness
from .effects import Figures, Step, Trial, averaged, collected, targets_of

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
    return _table(steps, progress, others=others, seed=seed, unit=subject.task.unit)


def confirm_steps(
    subject: Subject,
    atlas: Atlas,
    setting: Mapping[str, Any],
    *,
    concepts: Iterable[str] | None = None,
    together: Iterable[str] | Iterable[Iterable[str]] | None = None,
    layers: Iterable[str] | None = None,
    found_on: Iterable[str] = (),
    **work: Any,
) -> Iterator[Step]:
    """Do what `confirm` does in steps; each row is in the step that completes it.

    Args:
        subject: as in `confirm`, and so on to `found_on`.
        atlas: engrams of the subject's model.
        setting: what is held against others.
        concepts: erased one at a time.
        together: instead: sets.
        layers: of the setting.
        found_on: where it was found.
        work: others, seed, and how the work is divided; see `trial.Trial`.
    """
    targets = targets_of(atlas, concepts, together)
    seen = {name for target in targets for name in target} & set(found_on)
    if seen:
        raise DataError(
            f"{', '.join(map(repr, sorted(seen)[:5]))} took part in finding the setting, so it confirms "
            "nothing. Draw others, for example with draw_concepts(…, without=found_on)."
        )
    trial, members = Trial(subject, atlas, targets, **work), _layers(atlas, setting, layers)
    return _confirming(trial, setting, members)


def _confirming(trial: Trial, setting: Mapping[str, Any], layers: Sequence[str]) -> Iterator[Step]:
    for done, target in enumerate(trial.targets):
        said = f"confirming on {', '.join(target)[:40]}"
        found: list[Figures] = []
        for _ in _one(trial, setting, layers, target, None, found):
            yield Step(done, len(trial.targets), said)
        row = {"concept": ", ".join(target)} | averaged(found)
        yield Step(done + 1, len(trial.targets), said, row)


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
    return _table(steps, progress, others=others, seed=seed, unit=subject.task.unit)


def sham_steps(
    subject: Subject,
    atlas: Atlas,
    setting: Mapping[str, Any],
    *,
    concepts: Iterable[str] | None = None,
    together: Iterable[str] | Iterable[Iterable[str]] | None = None,
    layers: Iterable[str] | None = None,
    seeds: Iterable[int] = range(5),
    **work: Any,
) -> Iterator[Step]:
    """Do what `sham` does in steps; each row is in the step that completes it.

    Args:
        subject: as in `sham`, and so on to `seeds`.
        atlas: engrams of the subject's model.
        setting: what is imitated.
        concepts: erased one at a time.
        together: instead: sets.
        layers: of the setting.
        seeds: of the noise.
        work: others, seed, and how the work is divided; see `trial.Trial`.
    """
    trial = Trial(subject, atlas, targets_of(atlas, concepts, together), **work)
    return _shams(trial, setting, _layers(atlas, setting, layers), list(seeds))


def _shams(
    trial: Trial, setting: Mapping[str, Any], layers: Sequence[str], seeds: Sequence[int]
) -> Iterator[Step]:
    total = len(seeds) * len(trial.targets)
    found: dict[int, list[Figures]] = {seed: [] for seed in seeds}
    done = 0
    # A target's sizes serve all its shams, so the targets come first.
    for target in trial.targets:
        for seed in seeds:
            said = f"random change as large as that of {', '.join(target)[:40]}"
            for _ in _one(trial, setting, layers, target, seed, found[seed]):
                yield Step(done, total, said)
            done += 1
            last = target == trial.targets[-1]
            yield Step(done, total, said, {"seed": seed} | averaged(found[seed]) if last else None)


def _one(
    trial: Trial,
    setting: Mapping[str, Any],
    layers: Sequence[str],
    target: tuple[str, ...],
    seed: int | None,
    found: list[Figures],
) -> Iterator[None]:
    sharp = Sharpness(float(setting["power"]), bool(setting["clip"]))
    work = trial.figures(sharp, trial.edit(setting, layers, target), target, sham=seed)
    return collected(work, found)


def _layers(atlas: Atlas, setting: Mapping[str, Any], layers: Iterable[str] | None) -> list[str]:
    group = str(setting["group"])
    return list(layers if layers is not None else choose_groups(atlas.layers, [group])[group])


def _table(steps: Iterator[Step], progress: Progress | None, **about: Any) -> pd.DataFrame:
    rows, done = [], 0
    for step in steps:
        if progress is not None and step.done > done:
            done = step.done
            progress(done, step.total, step.text)
        if step.row is not None:
            rows.append(step.row)
    table = pd.DataFrame(rows)
    table.attrs = about
    return table
