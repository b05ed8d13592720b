"""What one edit does to the concepts it erases and to others: the measurement that a sweep repeats."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..editing.change import edit_sizes
from ..editing.edit import Edit
from ..editing.live_edit import LiveEdit, apply_edit, live_edit
from ..errors import DataError
from ..measuring.options import check_subject, draw_others
from ..measuring.scores import Parts, score_steps
from ..measuring.shams import gaussian_view
from ..progress import Memory, Recent, Step, Steps, nested, once
from ..solving.filters import Sharpness
from .figures import Figures, compared
from .settings import Target

__all__ = ["EffectMeter"]

Measuring = Generator[Step[Any], None, dict[str, dict[str, float]]]


class EffectMeter:
    """Measures what edits of some targets do, each to the same others every time.

    Args:
        subject: model, concepts, task.
        atlas: engrams of the subject's model; its sharpness is not used.
        targets: what is erased.
        others: how many of the other concepts are scored for each target, drawn at random once; None: all.
        seed: of that draw.
        parts: as in `scores.score_steps`.
        memory: of measurements; of this subject and atlas alone.

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
        parts: Parts | None = None,
        memory: Memory | None = None,
    ):
        check_subject(subject, atlas)
        self.subject, self.atlas, self.targets = subject, atlas, list(targets)
        self._parts = parts
        self._memory: Memory = Recent() if memory is None else memory
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
    ) -> Steps[Figures]:
        """Find what an edit did, in steps.

        Args:
            sharp: the sharpness of the engrams.
            edit: see `edit`; what it erases is replaced by nothing else.
            target: what it erases.
            sham: seed of a Gaussian change of the same size in every layer, to be scored in its place.

        Returns:
            What the edit did.
        """
        return once(
            self._memory,
            self._key(sharp, edit, target, sham),
            partial(self._figures, sharp, edit, target, sham),
        )

    def _figures(self, sharp: Sharpness, edit: Edit, target: Target, sham: int | None) -> Steps[Figures]:
        others = self.others[target]
        before = yield from nested(self._before(), size=0, what="scoring the base model")
        yield Step(0, 1, "editing")
        view = self._edited(sharp, edit) if sham is None else self._sham(sharp, edit, sham)
        after = yield from nested(self._measure(view, [*target, *others]))
        return compared(before, after, target, others)

    def known(
        self, sharp: Sharpness, edit: Edit, target: Target, *, sham: int | None = None
    ) -> Figures | None:
        """Return what an edit did if that is known already; see `figures`."""
        found: Figures | None = self._memory.get(self._key(sharp, edit, target, sham))
        return found

    def _key(self, sharp: Sharpness, edit: Edit, target: Target, sham: int | None) -> Hashable:
        return "edit", sharp, edit, tuple(self.others[target]), sham

    def _edited(self, sharp: Sharpness, edit: Edit) -> nn.Module:
        """Return the one view of a sharpness with another edit in force: nothing is solved or copied."""
        if self._view is None or self._view[0] != sharp:
            atlas = self.atlas.sharpen(sharp)
            self._view = sharp, apply_edit(atlas, edit)
        control: LiveEdit = live_edit(self._view[1])
        control.set(edit)
        return self._view[1]

    def _sham(self, sharp: Sharpness, edit: Edit, seed: int) -> nn.Module:
        atlas = self.atlas.sharpen(sharp)
        # An engram's size changes with the sharpness: what was found for one is wrong for another.
        if self._sizes is None or self._sizes[0] != (sharp, edit):
            self._sizes = (sharp, edit), edit_sizes(atlas, edit)
        return gaussian_view(atlas, edit, seed, sizes=self._sizes[1])

    def _before(self) -> Measuring:
        known = {name: self._memory.get(("base", name)) for name in self._probes}
        left = [name for name, values in known.items() if values is None]
        if left:
            found = yield from self._measure(self.subject.model, left)
            for name, values in found.items():
                self._memory.put(("base", name), values)
            known |= found
        return {name: values for name, values in known.items() if values is not None}

    def _measure(self, model: nn.Module, names: list[str]) -> Measuring:
        """Return every measure of every concept."""
        scores = yield from score_steps(self.subject, model, names, parts=self._parts)
        found: dict[str, dict[str, float]] = {name: {} for name in names}
        for measure, values in {"score": scores.score, **scores.details}.items():
            for name, value in values.items():
                found[name][measure] = value
        return found
