"""Concept, who is damaged and who is spared: every other concept after this one was erased, sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...choice.choice import Choice
from ...compute import criteria as measures
from ...compute.one_concept import others_of
from ...compute.scores import score_controls, score_edit
from ...figures.charts.ranking import ranking
from ...figures.words.concept import HOW, say_damage
from ...page import parts, progress
from ...page.snippets import scores_code
from ...server.base import Base
from . import asked

__all__ = ["draw", "shown_of"]

_ENDS = 7  # concepts at each end of the ranking; up to twice as many are all drawn


def draw(base: Base, edit: Choice, name: str) -> None:
    """Draw who is damaged and who is spared.

    Args:
        base: the model.
        edit: erases the concept.
        name: the concept.
    """
    how = HOW["damage"].format(seeds=asked.seeds(measures.SHAMS))
    part = parts.part("concept", "Who is damaged, who is spared", how, base, edit)
    scores = progress.run(score_edit(base, edit), key="damage")
    runs: list[dict[str, float]] = []
    if edit.changes and asked.fully(base):
        runs = progress.run(score_controls(base, edit, asked.seeds(measures.SHAMS)), key="damage control")
    others = others_of(base.facts, name)
    delta = {other: scores[other] - base.scores[other] for other in others}
    shams = [float(np.mean([run[other] - base.scores[other] for other in others])) for run in runs if others]
    own = base.scores[name], scores[name]
    shown = shown_of(delta)
    words = say_damage(name, own, delta, shams)
    if len(shown) < len(delta):
        words += (
            f" Drawn: the {_ENDS} that lose most and the {_ENDS} that keep or gain most, of {len(delta)}."
        )
    numbers = _table(base, scores, runs)
    if not shown:
        part.table("damage", numbers, words=words, code=scores_code(edit, len(runs)))
        return
    part.figure(
        "damage",
        ranking(
            shown, 100 * np.array([delta[other] for other in shown]), value="Change of the score (points)",
            row="Concept", control=_control(base.scores, runs, shown), seeds=len(runs),
            hover=[f"{100 * base.scores[n]:.1f} → {100 * scores[n]:.1f} %" for n in shown],
        ),
        words=words,
        numbers=numbers,
        code=scores_code(edit, len(runs)),
    )  # fmt: skip


def shown_of(delta: Mapping[str, float]) -> list[str]:
    """Return who is drawn, from the greatest loss to the greatest gain: all, or both ends."""
    order = sorted(delta, key=lambda name: delta[name])
    return order if len(order) <= 2 * _ENDS else [*order[:_ENDS], *order[-_ENDS:]]


def _control(
    before: Mapping[str, float], runs: Sequence[Mapping[str, float]], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    if not runs:
        return None
    table = 100 * np.array([[run[name] - before[name] for name in names] for run in runs])
    return table.mean(0), table.min(0), table.max(0)


def _table(base: Base, scores: Mapping[str, float], runs: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    classes = list(base.facts.classes)
    table = pd.DataFrame({
        "concept": classes, "base": [base.scores[n] for n in classes], "edited": [scores[n] for n in classes],
    })  # fmt: skip
    table["difference"] = table["edited"] - table["base"]
    if runs:
        values = np.array([[run[name] for name in classes] for run in runs])
        table["control mean"], table["control low"], table["control high"] = (
            values.mean(0), values.min(0), values.max(0),
        )  # fmt: skip
    return table
