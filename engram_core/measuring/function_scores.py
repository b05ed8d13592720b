"""What the edits of all concepts and their shams do to the scores, and the tables made of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..concepts.tasks import Scores
from .scores import Effect, answered_with, selective_effect
from .significance import SHAMS, TAILS, add_control, significance

__all__ = ["FunctionScores"]


@dataclass
class FunctionScores:
    """Scores under one edit per concept and under the shams of each; grows while they are measured.

    Attributes:
        effect: ``"loss"`` where the edits erase, ``"gain"`` where they keep.
        probes: the concepts that are scored.
        base: scores of the base model.
        edited: scores per concept that is edited.
        shams: by kind of sham and concept, the scores of one sham per seed.
    """

    effect: Effect
    probes: tuple[str, ...]
    base: Scores
    edited: dict[str, Scores] = field(default_factory=dict)
    shams: dict[str, dict[str, list[Scores]]] = field(default_factory=dict)

    def selective(self, concept: str) -> float:
        """Return the selective effect of a concept's edit; see `scores.selective_effect`."""
        return selective_effect(self.edited[concept], self.base.score, concept, self.effect)

    def selective_shams(self, kind: str, concept: str) -> list[float]:
        """Return the selective effect of each sham of a concept's edit."""
        shams = self.shams.get(kind, {}).get(concept, ())
        return [selective_effect(scores, self.base.score, concept, self.effect) for scores in shams]

    def table(self) -> pd.DataFrame:
        """Return one row per edited concept and probe, as `necessity` and `sufficiency` have it.

        The columns of a kind of sham are there once every concept has as many, and at least two.
        """
        kinds = [kind for kind in SHAMS if self._whole(kind)]
        return pd.concat([self._rows(name, kinds) for name in self.edited], ignore_index=True)

    def _whole(self, kind: str) -> bool:
        counts = {len(self.shams.get(kind, {}).get(name, ())) for name in self.edited}
        return len(counts) == 1 and min(counts) > 1

    def _rows(self, concept: str, kinds: Sequence[str]) -> pd.DataFrame:
        scores, base, probes = self.edited[concept], self.base, self.probes
        frame = pd.DataFrame(
            {
                "concept": concept,
                "probe": probes,
                "score": [scores.score[p] for p in probes],
                "base": [base.score[p] for p in probes],
            }
        )
        frame["delta"] = frame["score"] - frame["base"]
        frame["says"] = [answered_with(scores, p, concept) for p in probes]
        frame["selective"] = selective = self.selective(concept)
        for name, known in scores.details.items():
            if name in base.details:
                frame[name] = [known.get(p, math.nan) for p in probes]
                frame[f"base_{name}"] = [base.details[name].get(p, math.nan) for p in probes]
        for kind in kinds:
            values = [np.array([s.score.get(p, math.nan) for p in probes]) for s in self.shams[kind][concept]]
            add_control(frame, kind, frame["score"].to_numpy(), values, falls=self.effect == "loss")
            shamed = self.selective_shams(kind, concept)
            for tail, value in zip(TAILS.values(), significance(selective, shamed), strict=True):
                frame[f"selective_{kind}{tail}"] = value
        return frame

    def tests(self) -> pd.DataFrame:
        """Hold the selective effect of every concept against its shams; see `significance`.

        Returns:
            concept, selective, and per kind of sham there is ``selective_KIND``, its mean, with _z and _p;
            NaN for a concept that has no sham of a kind.
        """
        names = list(self.edited)
        effects = [self.selective(name) for name in names]
        table = pd.DataFrame({"concept": names, "selective": effects})
        for kind in (kind for kind in SHAMS if self.shams.get(kind)):
            runs = [self.selective_shams(kind, name) for name in names]
            found = [
                significance(effect, run) if len(run) > 1 else (math.nan,) * len(TAILS)
                for effect, run in zip(effects, runs, strict=True)
            ]
            values = dict(zip(TAILS, zip(*found, strict=True), strict=True))
            for tail in ("mean", "z", "p"):
                table[f"selective_{kind}{TAILS[tail]}"] = values[tail]
        return table
