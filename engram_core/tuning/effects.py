"""What one edit does to the concepts it erases and to others: the measurement that a sweep repeats."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..editing.change import edit_sizes
from ..editing.edit import Edit
from ..editing.live_edit import LiveEdit, apply_edit, live_edit
from ..errors import DataError
from ..measuring.options import check_subject, draw_others
from ..measuring.shams import gaussian_view
from ..solving.filters import Sharpness

__all__ = [
    "SETTING",
    "Figures",
    "Kept",
    "Step",
    "Target",
    "Trial",
    "averaged",
    "collected",
    "targets_of",
    "with_strength",
]

SETTING = ("group", "scaling", "power", "clip", "strength")
"""The columns of a table that name a setting."""

Target = tuple[str, ...]
"""Concepts that are erased together."""


class Kept(Protocol):
    """Where measurements are looked up and kept, so that a search that was left goes on where it was."""

    def get(self, key: Hashable) -> Any | None:
        """Return what is kept under a key, or None."""
        ...

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a value."""
        ...


class _Own:
    """Keeps everything, for one trial."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable) -> Any | None:
        return self._values.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        self._values[key] = value


@dataclass(frozen=True)
class Step:
    """Where a search stands between two portions of its work.

    Attributes:
        done: edits that are scored.
        total: edits in all.
        text: what is being measured.
        row: the figures of what has just been completed; None within.
    """

    done: int
    total: int
    text: str
    row: dict[str, Any] | None = None


@dataclass(frozen=True)
class Figures:
    """What one edit did, by measure (``"score"`` and the details of the task): mean after, mean before.

    Attributes:
        forget: over the erased concepts; NaN for a measure that none of them has.
        retain: over the others.
        highest: the highest score of an erased concept.
    """

    forget: dict[str, tuple[float, float]]
    retain: dict[str, tuple[float, float]]
    highest: float


class Trial:
    """Scores edits of some targets, each with the same others every time.

    Args:
        subject: model, concepts, task.
        atlas: engrams of the subject's model; its sharpness is not used.
        targets: what is erased.
        others: how many of the other concepts are scored for each target, drawn at random once; None: all.
        seed: of that draw.
        turn: entered around every portion of work; default nothing.
        parts: divides the concepts scored for one edit into portions; default one portion.
        kept: where measurements are kept; of this subject and atlas alone.

    Raises:
        DataError: if nothing is left beside a target.
    """

    def __init__(
        self,
        subject: Subject,
        atlas: Atlas,
        targets: Sequence[Target],
        *,
        others: int | None = None,
        seed: int = 0,
        turn: AbstractContextManager[Any] | None = None,
        parts: Callable[[list[str]], Iterable[list[str]]] | None = None,
        kept: Kept | None = None,
    ):
        check_subject(subject, atlas)
        self.subject, self.atlas, self.targets = subject, atlas, list(targets)
        self._turn: AbstractContextManager[Any] = nullcontext() if turn is None else turn
        self._parts = parts or (lambda names: [names])
        self._kept: Kept = _Own() if kept is None else kept
        self._view: tuple[Sharpness, nn.Module] | None = None
        self._sizes: tuple[tuple[Sharpness, Edit], dict[str, float]] | None = None
        names = list(subject.concepts)
        self.others: dict[Target, list[str]] = {}
        for place, target in enumerate(self.targets):
            self.others[target] = draw_others(names, target, others, seed=(seed, place))
            if not self.others[target]:
                raise DataError("All concepts are erased together; leave some, so that damage can be seen.")
        needed = {name for target in self.targets for name in (*target, *self.others[target])}
        self._probes = [name for name in names if name in needed]

    def edit(self, setting: Mapping[str, Any], layers: Sequence[str], target: Target) -> Edit:
        """Return the edit of a target at a setting (the columns `SETTING`)."""
        strength = float(setting["strength"])
        erase = dict.fromkeys(target, strength)
        return Edit.of(self.atlas, erase=erase, scaling=str(setting["scaling"]), layers=list(layers))

    def figures(
        self, sharp: Sharpness, edit: Edit, target: Target, *, sham: int | None = None
    ) -> Generator[None, None, Figures]:
        """Score an edit, portion by portion; the generator's value is what it did.

        Args:
            sharp: the sharpness of the engrams.
            edit: see `edit`; what it erases is replaced by nothing else.
            target: what it erases.
            sham: seed of a Gaussian change of the same size in every layer, to be scored in its place.
        """
        found = self.kept(sharp, edit, target, sham=sham)
        if found is not None:
            return found
        others = self.others[target]
        before = yield from self._before()
        with self._turn:
            view = self._edited(sharp, edit) if sham is None else self._sham(sharp, edit, sham)
        after = yield from self._measure(view, [*target, *others])
        found = _compared(before, after, target, others)
        self._kept.put(self._key(sharp, edit, target, sham), found)
        return found

    def kept(
        self, sharp: Sharpness, edit: Edit, target: Target, *, sham: int | None = None
    ) -> Figures | None:
        """Return what an edit did if that is known already; see `figures`."""
        found: Figures | None = self._kept.get(self._key(sharp, edit, target, sham))
        return found

    def _key(self, sharp: Sharpness, edit: Edit, target: Target, sham: int | None) -> Hashable:
        return "edit", sharp, edit, tuple(self.others[target]), sham

    def _edited(self, sharp: Sharpness, edit: Edit) -> nn.Module:
        """Return the one view of a sharpness with another edit in force: nothing is solved or copied."""
        if self._view is None or self._view[0] != sharp:
            atlas = self.atlas.sharpen(sharp.power, clip=sharp.clip)
            self._view = sharp, apply_edit(atlas, edit)
        control: LiveEdit = live_edit(self._view[1])
        control.set(edit)
        return self._view[1]

    def _sham(self, sharp: Sharpness, edit: Edit, seed: int) -> nn.Module:
        atlas = self.atlas.sharpen(sharp.power, clip=sharp.clip)
        # An engram's size changes with the sharpness: what was found for one is wrong for another.
        if self._sizes is None or self._sizes[0] != (sharp, edit):
            self._sizes = (sharp, edit), edit_sizes(atlas, edit)
        return gaussian_view(atlas, edit, seed, sizes=self._sizes[1])

    def _before(self) -> Generator[None, None, dict[str, dict[str, float]]]:
        known = {name: self._kept.get(("base", name)) for name in self._probes}
        left = [name for name, values in known.items() if values is None]
        if left:
            found = yield from self._measure(self.subject.model, left)
            for name, values in found.items():
                self._kept.put(("base", name), values)
            known |= found
        return {name: values for name, values in known.items() if values is not None}

    def _measure(
        self, model: nn.Module, names: list[str]
    ) -> Generator[None, None, dict[str, dict[str, float]]]:
        """Return every measure of every concept."""
        found: dict[str, dict[str, float]] = {name: {} for name in names}
        for part in self._parts(names):
            with self._turn:
                scores = self.subject.task.measure(model, self.subject.concepts, part)
            for measure, values in {"score": scores.score, **scores.details}.items():
                for name, value in values.items():
                    found[name][measure] = value
            yield
        return found


def collected(work: Generator[None, None, Figures], found: list[Figures]) -> Iterator[None]:
    """Do a piece of work portion by portion, and add what it comes to."""
    found.append((yield from work))


def _compared(
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
    target: Target,
    others: Sequence[str],
) -> Figures:
    measures = dict.fromkeys(measure for values in after.values() for measure in values)
    sides: list[dict[str, tuple[float, float]]] = []
    for members in (target, others):
        side = {}
        for measure in measures:
            known = [name for name in members if measure in after[name]]
            side[measure] = (_mean(after, known, measure), _mean(before, known, measure))
        sides.append(side)
    return Figures(sides[0], sides[1], max(after[name]["score"] for name in target))


def _mean(values: Mapping[str, Mapping[str, float]], names: Sequence[str], measure: str) -> float:
    return sum(values[name][measure] for name in names) / len(names) if names else math.nan


def averaged(found: Sequence[Figures]) -> dict[str, float]:
    """Return the means over several targets, as the columns of a sweep's table."""
    row: dict[str, float] = {}
    for name in dict.fromkeys(measure for figures in found for measure in figures.forget):
        tail = "" if name == "score" else f"_{name}"
        sign = -1.0 if "nll" in name else 1.0
        none = (math.nan, math.nan)
        sides = [
            np.array([side.get(name, none) for side in part])
            for part in ([f.forget for f in found], [f.retain for f in found])
        ]
        for label, gap, values in zip(("forget", "retain"), ("lost", "damage"), sides, strict=True):
            now, base = _mean_known(values[:, 0]), _mean_known(values[:, 1])
            row |= {label + tail: now, f"base_{label}{tail}": base, gap + tail: sign * (base - now)}
        if name == "score":
            row["worst_forget"] = max(f.highest for f in found)
            row["worst_damage"] = float((sides[1][:, 1] - sides[1][:, 0]).max())
    return row


def _mean_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def targets_of(
    atlas: Atlas,
    concepts: Iterable[str] | None,
    together: Iterable[str] | Iterable[Iterable[str]] | None,
) -> list[Target]:
    """Return what is erased: each of `concepts` alone, or each set of `together` at once.

    Raises:
        DataError: if both are given, or there is nothing to erase.
        UnknownNameError: for a concept without an engram.
    """
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


def with_strength(edit: Edit, target: Target, strength: float) -> Edit:
    """Return an edit with another strength, without looking its layers up again."""
    return replace(edit, erase=tuple((name, strength) for name in target))
