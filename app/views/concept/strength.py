"""Concept, its strength curve: what it and some others score as the edit grows stronger."""

from __future__ import annotations

from ...choice.choice import Choice
from ...compute.one_concept import curve_plan, measure_curve
from ...figures.charts.curve import curve
from ...figures.charts.labels import label
from ...figures.words.concept import HOW, say_curve
from ...options import server_options
from ...page import parts, progress
from ...page.snippets import plain_atlas
from ...server.base import Base
from . import asked

__all__ = ["draw"]


def draw(base: Base, edit: Choice, name: str) -> None:
    """Draw what it and others score as the edit grows stronger; see `damage.draw`."""
    plan = curve_plan(base, edit, name, demo=server_options().demo)
    part = parts.part("concept", "Strength curve", HOW["curve"].format(others=int(plan.others)), base, edit)
    if not asked.fully(base):
        asked.waits()
        return
    table = progress.run(measure_curve(base, plan))
    strength = edit.strengths[name]
    part.figure(
        "curve",
        curve(
            table, name=label(name), others=f"mean of {plan.others} others",
            unit="Exact recall (%)" if base.is_text else "Accuracy (%)", strength=strength,
        ),
        words=say_curve(name, table, strength),
        numbers=table[["strength", "forget", "retain", "lost", "damage"]],
        code=(
            "import pandas as pd\n\n"
            f"table = ec.sweep(sample, {plain_atlas(edit)}, concepts=[{name!r}], "
            f"strengths={list(plan.strengths)!r},\n"
            f"    scalings={list(plan.scalings)!r}, sharpness=[ec.Sharpness({edit.power!r}, {edit.clip})],\n"
            f"    groups={{'chosen': {list(edit.layers)!r}}},\n"
            f"    others={plan.others}, seed=0)\n"
            "same = table['base_forget'], table['base_retain']\n"
            "first = table.assign(strength=0.0, lost=0.0, damage=0.0, forget=same[0], retain=same[1])[:1]\n"
            "table = pd.concat([first, table.sort_values('strength')], ignore_index=True)"
        ),
    )  # fmt: skip
