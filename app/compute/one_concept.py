"""Everything that is asked about one concept: its edit, who is probed beside it, and its strength curve."""

from __future__ import annotations

import numpy as np
import pandas as pd

from engram_core.mapping.inputs import some_concepts
from engram_core.progress import Steps
from engram_core.solving.filters import Sharpness
from engram_core.solving.similarity import EngramCosines

from ..choice.choice import FROM_NOTHING, Choice, Facts
from ..choice.search import BESIDE, Plan, default_strengths, most_edits, most_strengths
from ..server.base import Base
from .criteria import Selection, key_of, selection
from .maps import compare_engrams
from .strength import search, sweep_of

__all__ = ["alone", "curve_plan", "erasing", "measure_curve", "measure_nearest", "others_of", "with_base"]

_KEPT = ("strength", "forget", "retain", "lost", "damage")
_COMPARED = 120  # engrams that are compared with it, in a model that has more


def alone(facts: Facts, name: str) -> Selection:
    """Return one concept as the only one that is edited; probed are all of a small model, or a stated few."""
    found = selection(facts, (name,))
    return Selection((name,), found.probed, found.every)


def erasing(choice: Choice, name: str) -> Choice:
    """Return the edit that erases one concept, in the way that the visitor has chosen."""
    return key_of(choice, name, "necessity", FROM_NOTHING)


def others_of(facts: Facts, name: str) -> tuple[str, ...]:
    """Return all concepts but one."""
    return tuple(other for other in facts.classes if other != name)


def measure_nearest(base: Base, name: str) -> Steps[EngramCosines]:
    """Compare a concept's engram with those of all others, or of a stated many."""
    names = some_concepts(base.facts.classes, (name,), most=_COMPARED)
    return (yield from compare_engrams(base, names, ""))


def curve_plan(base: Base, choice: Choice, name: str, *, demo: bool = False) -> Plan:
    """Return the search that is the strength curve of one concept: the visitor's edit at every strength."""
    edit = erasing(choice, name)
    strengths = {
        *default_strengths(base.explorer)[: most_strengths(demo=demo) - 1],
        abs(edit.strength) or 1.0,
    }
    return Plan(
        targets=((name,),), drawn=False, strengths=tuple(sorted(strengths)), scalings=(edit.scaling,),
        filters=(Sharpness(edit.power, edit.clip),), groups=(("chosen", edit.layers),),
        others=min(BESIDE, max(1, len(base.facts.classes) - 1)), seed=0, most=most_edits(demo=demo),
    )  # fmt: skip


def measure_curve(base: Base, plan: Plan) -> Steps[pd.DataFrame]:
    """Score a concept and some others at every strength of a plan.

    Returns:
        The table of `ec.sweep`, by strength, with the base model's row at 0.

    Yields:
        Where the work stands.
    """
    table = yield from search(sweep_of(base, plan))
    return with_base(table.sort_values("strength"))


def with_base(table: pd.DataFrame) -> pd.DataFrame:
    """Return a sweep of one setting with the base model as its first row, at strength 0."""
    first = table.iloc[[0]].copy()
    for side, gap in (("forget", "lost"), ("retain", "damage")):
        first[side], first[gap] = first[f"base_{side}"], 0.0
    first["strength"] = 0.0
    other = [c for c in first.select_dtypes("number") if c not in _KEPT and not str(c).startswith("base_")]
    first[other] = np.nan
    return pd.concat([first, table], ignore_index=True)
