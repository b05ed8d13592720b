"""A fine-tune as a subject: the model, what it learned, the base it started from, what that knew before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from ..atlas import Atlas, extract
from ..concepts.concepts import ConceptSet
from ..concepts.tasks import Scores, Subject
from ..editing.edit import Edit
from ..editing.live_edit import apply_edit
from ..errors import DataError
from ..progress import Progress
from ..recording.record import record
from ..solving.filters import Sharpness

__all__ = ["Direction", "Figures", "FineTune", "Setting"]

Direction = str
"""``"erase"``: out of the fine-tuned model; ``"compose"``: chosen memories into the base."""


@dataclass(frozen=True)
class Setting:
    """A filter, and the engrams that it acts on.

    Attributes:
        sharpness: the filter.
        of: ``"fine-tune"`` for parts of what was written, ``"weights"`` for parts of the whole weights.
    """

    sharpness: Sharpness
    of: str = "fine-tune"

    def to_dict(self) -> dict[str, float | bool | str]:
        """Return the setting as JSON can hold it."""
        sharp = self.sharpness
        return {"of": self.of, "power": sharp.power, "cap": sharp.clip, "gain": sharp.gain}


@dataclass(frozen=True)
class Figures:
    """What an edit of chosen concepts left.

    Attributes:
        chosen: mean score of the chosen concepts.
        other_new: of the fine-tune's other concepts; None if there are none.
        old: of what the base knew before; None if that was not given.
        paraphrases: of the chosen concepts, on phrasings that were not recorded; None without any.
    """

    chosen: float
    other_new: float | None
    old: float | None
    paraphrases: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return {
            "chosen": self.chosen, "other_new": self.other_new, "old": self.old,
            "paraphrases": self.paraphrases,
        }  # fmt: skip

    @staticmethod
    def mean(found: Sequence[Figures]) -> Figures:
        """Return the means of several draws."""

        def each(name: str) -> float | None:
            values = [v for one in found if (v := getattr(one, name)) is not None]
            return float(np.mean(values)) if values else None

        chosen = each("chosen")
        assert chosen is not None
        return Figures(chosen, each("other_new"), each("old"), each("paraphrases"))


@dataclass(frozen=True)
class FineTune:
    """A fine-tuned model with what it learned, and the base it started from.

    Attributes:
        subject: the fine-tuned model, the concepts that it was tuned on, and how they are scored.
        base: the model that it started from.
        known: what the base knew before, with a task of its own; None if nobody can say. Its model is not
            used.
    """

    subject: Subject
    base: nn.Module
    known: Subject | None = None

    def atlases(self, progress: Progress | None = None) -> dict[str, Atlas]:
        """Record the concepts once, and solve for parts of what was written and of the whole weights.

        Args:
            progress: called with (done, total, text).

        Returns:
            The engrams by `Setting.of`.
        """
        model = self.subject.model
        recording = record(model, self.subject.concepts, progress=progress)
        return {
            "fine-tune": extract(model, recording, base=self.base, progress=progress),
            "weights": extract(model, recording, progress=progress),
        }

    def edited(
        self, atlas: Atlas, sharpness: Sharpness, direction: Direction, names: Iterable[str]
    ) -> nn.Module:
        """Return a view with chosen concepts erased from the fine-tune, or composed into the base.

        Args:
            atlas: the engrams.
            sharpness: the filter.
            direction: ``"erase"`` or ``"compose"``.
            names: the chosen concepts.

        Raises:
            DataError: for another direction, or composing from parts of the whole weights.
        """
        sharp = atlas.sharpen(sharpness)
        chosen = dict.fromkeys(names, 1.0)
        if direction == "erase":
            return apply_edit(sharp, Edit.of(sharp, erase=chosen))
        if direction != "compose":
            raise DataError(f"A fine-tune's memories are erased or composed; found {direction!r}.")
        return apply_edit(sharp, Edit.of(sharp, keep=chosen, null="base"))

    def score(self, model: nn.Module, names: Iterable[str]) -> float:
        """Return the mean score of some concepts.

        Args:
            model: the fine-tuned model, its base, or a view.
            names: of the concepts.
        """
        return _mean(self.subject.task.measure(model, self.subject.concepts, list(names)).score)

    def figures(
        self, model: nn.Module, names: Sequence[str], *, known: int | None = None, seed: int = 0
    ) -> Figures:
        """Return what a model still has.

        Args:
            model: the fine-tuned model, its base, or a view.
            names: the chosen concepts.
            known: how many of the base's concepts are scored, drawn at random; default all.
            seed: of that draw.
        """
        scores = self.subject.task.measure(model, self.subject.concepts)
        chosen = {name: scores.score[name] for name in names}
        others = {name: value for name, value in scores.score.items() if name not in chosen}
        unseen = [v for n, v in scores.details.get("unseen", {}).items() if n in chosen]
        return Figures(
            _mean(chosen), _mean(others) if others else None, self.known_score(model, known, seed=seed),
            float(np.mean(unseen)) if unseen else None,
        )  # fmt: skip

    def known_score(self, model: nn.Module, count: int | None = None, *, seed: int = 0) -> float | None:
        """Return the mean score of what the base knew before; None if nobody can say.

        Args:
            model: the fine-tuned model, its base, or a view.
            count: of how many concepts, drawn at random; default all.
            seed: of that draw.
        """
        if self.known is None:
            return None
        concepts: ConceptSet = self.known.concepts
        names = list(concepts)
        if count is not None and count < len(names):
            drawn = np.random.default_rng(seed).choice(len(names), count, replace=False)
            names = [names[i] for i in sorted(drawn)]
        found: Scores = self.known.task.measure(model, concepts, names)
        return _mean(found.score)


def _mean(scores: dict[str, float]) -> float:
    return float(np.mean(list(scores.values())))
