"""The search for the strength in portions: the sweep itself, its control, and its trial on others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from engram_core.measuring.options import draw_concepts
from engram_core.tuning.confirm import confirm_steps, sham_steps
from engram_core.tuning.effects import Step
from engram_core.tuning.recommend import NoSettingError, Recommendation, recommend
from engram_core.tuning.sweep import Sweep

from ..choice.search import Plan, Rule
from ..server.base import Base, parts
from ..server.turns import HEAVY

__all__ = ["SHAMS", "confirmed", "control", "judged", "others_asked", "others_to_try", "seconds", "sweep_of"]

SHAMS = 3
"""Seeds of the control."""

_TRIED, _SETS = 6, 2  # concepts, or sets of them, that a setting is tried on
_ASKED = 24  # others that are asked then


def _work(base: Base) -> dict[str, Any]:
    """Return how work is divided: visitors take turns, and whoever comes back finds what is known."""
    return {"turn": HEAVY, "parts": partial(parts, base.facts), "kept": base.trials}


def sweep_of(base: Base, plan: Plan) -> Sweep:
    """Return a search, not yet begun."""
    return Sweep(
        base.sample, base.atlas, **_chosen(plan.targets, plan.together), strengths=plan.strengths,
        scalings=plan.scalings, sharpness=plan.filters, groups=dict(plan.groups), others=plan.others,
        seed=plan.seed, **_work(base),
    )  # fmt: skip


def seconds(base: Base, plan: Plan) -> float:
    """Return about how long a search takes, by what scoring the base took; that it is edited adds little."""
    held = base.facts.held_out
    mean = sum(held.values()) / len(held)
    asked = sum(sum(held[name] for name in target) + plan.others * mean for target in plan.targets)
    return base.pace * asked * plan.settings


def judged(table: pd.DataFrame, rule: Rule) -> Recommendation | NoSettingError:
    """Return what the rule recommends, or that no setting keeps it."""
    try:
        options: dict[str, Any] = rule.options
        return recommend(table, **options, measure=rule.measure)
    except NoSettingError as error:
        return error


def _chosen(targets: tuple[tuple[str, ...], ...], together: bool) -> dict[str, Any]:
    return {"together": targets} if together else {"concepts": [name for (name,) in targets]}


def control(base: Base, plan: Plan, found: Recommendation) -> Iterator[Step]:
    """Measure Gaussian changes as large as the recommended edits, on the same questions."""
    return sham_steps(
        base.sample, base.atlas, found.setting, **_chosen(plan.targets, plan.together), layers=found.layers,
        seeds=range(SHAMS), others=plan.others, seed=plan.seed, **_work(base),
    )  # fmt: skip


def others_to_try(base: Base, plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Return the concepts, or sets of as many as were erased together, that a setting is tried on.

    None of them took part in the search; () if there are not enough.
    """
    left = [name for name in base.facts.classes if name not in plan.concepts]
    size = len(plan.targets[0])
    # Damage is seen on concepts beside the erased ones.
    sets = min(len(left) // size, _SETS if plan.together else _TRIED)
    if not sets:
        return ()
    names = draw_concepts(left, sets * size, seed=plan.seed + 1)
    return tuple(tuple(names[i::sets]) for i in range(sets))


def others_asked(base: Base) -> int | None:
    """Return how many others are asked when a setting is tried; None for all."""
    return None if len(base.facts.classes) <= _ASKED else _ASKED


def confirmed(base: Base, plan: Plan, found: Recommendation) -> Iterator[Step]:
    """Measure the recommended setting on concepts that took no part; see `others_to_try`."""
    targets = others_to_try(base, plan)
    return confirm_steps(
        base.sample, base.atlas, found.setting, **_chosen(targets, plan.together), layers=found.layers,
        found_on=plan.concepts, others=others_asked(base), seed=plan.seed, **_work(base),
    )  # fmt: skip
