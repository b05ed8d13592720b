"""The search for the strength: the sweep itself, its control, and what its setting does to others."""

from __future__ import annotations

from typing import Any

import pandas as pd

from engram_core.measuring.options import draw_concepts
from engram_core.progress import Steps, drain
from engram_core.tuning.confirm import confirm_steps, sham_steps
from engram_core.tuning.recommend import NoSettingError, Recommendation, recommend
from engram_core.tuning.sweep import Sweep

from ..choice.search import Plan, Rule
from ..server.base import Base
from ..server.fair_lock import lock_each_step

__all__ = [
    "SHAMS",
    "confirm_on_others",
    "judged",
    "measure_control",
    "others_asked",
    "others_to_try",
    "search",
    "seconds",
    "sweep_of",
]

SHAMS = 3
"""Seeds of the control."""

_SINGLE, _SETS = 6, 2  # concepts, or sets of them, that a setting is confirmed on
_ASKED = 24  # others that are asked then


def _work(base: Base) -> dict[str, Any]:
    """Return how work is divided, and where whoever comes back finds what is known."""
    return {"parts": base.parts, "memory": base.searched}


def sweep_of(base: Base, plan: Plan) -> Sweep:
    """Return a search with what this visitor or another one has measured already; nothing is measured."""
    work = Sweep(
        base.sample, base.atlas, **_chosen(plan.targets, plan.together), strengths=plan.strengths,
        scalings=plan.scalings, sharpness=plan.filters, groups=dict(plan.groups), others=plan.others,
        seed=plan.seed, **_work(base),
    )  # fmt: skip
    drain(work.steps(only_known=True))
    return work


def search(work: Sweep) -> Steps[pd.DataFrame]:
    """Measure every setting of a page's search for the strength."""
    return lock_each_step(work.steps())


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


def measure_control(base: Base, plan: Plan, found: Recommendation) -> Steps[pd.DataFrame]:
    """Measure Gaussian changes as large as the recommended edits, on the same questions."""
    work = sham_steps(
        base.sample, base.atlas, found.setting, **_chosen(plan.targets, plan.together), layers=found.layers,
        seeds=range(SHAMS), others=plan.others, seed=plan.seed, **_work(base),
    )  # fmt: skip
    return (yield from lock_each_step(work))


def others_to_try(base: Base, plan: Plan) -> tuple[tuple[str, ...], ...]:
    """Return the concepts, or sets of as many as were erased together, that a setting is tried on.

    None of them took part in the search; () if there are not enough.
    """
    left = [name for name in base.facts.classes if name not in plan.concepts]
    size = len(plan.targets[0])
    # Damage is seen on concepts beside the erased ones.
    sets = min(len(left) // size, _SETS if plan.together else _SINGLE)
    if not sets:
        return ()
    names = draw_concepts(left, sets * size, seed=plan.seed + 1)
    return tuple(tuple(names[i::sets]) for i in range(sets))


def others_asked(base: Base) -> int | None:
    """Return how many others are asked when a setting is tried; None for all."""
    return None if len(base.facts.classes) <= _ASKED else _ASKED


def confirm_on_others(base: Base, plan: Plan, found: Recommendation) -> Steps[pd.DataFrame]:
    """Measure the recommended setting on concepts that took no part; see `others_to_try`."""
    targets = others_to_try(base, plan)
    work = confirm_steps(
        base.sample, base.atlas, found.setting, **_chosen(targets, plan.together), layers=found.layers,
        found_on=plan.concepts, others=others_asked(base), seed=plan.seed, **_work(base),
    )  # fmt: skip
    return (yield from lock_each_step(work))
