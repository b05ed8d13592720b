"""A search for the strength, made valid for a model: what is drawn, which layers, how sharp."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engram_core.measuring.options import draw_concepts
from engram_core.models.groups import layer_groups
from engram_core.solving.filters import Sharpness

from ..choice.choice import SCALINGS, Facts, number, one_of
from ..choice.search import (
    BESIDE,
    DRAWN,
    FILTERS,
    SOURCES,
    STRONGEST,
    WEAKEST,
    Plan,
    bounds,
    default_filters,
    default_strengths,
    most_edits,
    most_strengths,
    start_count,
)

__all__ = ["groups_of", "plan_of"]


def groups_of(facts: Facts) -> dict[str, tuple[str, ...]]:
    """Return the groups of layers that an edit can be tried in, by name; "all" is the first."""
    return layer_groups(facts.layers)


def plan_of(
    raw: Mapping[str, Any],
    facts: Facts,
    concepts: Sequence[str],
    explorer: Mapping[str, Any],
    *,
    demo: bool = False,
) -> Plan:
    """Return a search that is valid for a model; what is unknown or out of range becomes its default.

    Args:
        raw: values by the keys of the address.
        facts: the model.
        concepts: those chosen under "Edit".
        explorer: what the pages start with for this model.
        demo: whether this is a public screen, where searches are smaller.
    """
    limits = bounds(facts, demo=demo)
    most = int(limits["count"][1])
    drawn = one_of(raw.get("search"), SOURCES, DRAWN) == DRAWN or not concepts
    seed = int(number(raw.get("draw"), *limits["draw"], 0))
    count = int(number(raw.get("count"), *limits["count"], start_count(facts)))
    # Damage is seen on the others: one at least stays.
    names = tuple(draw_concepts(facts.classes, count, seed=seed)) if drawn else tuple(concepts)[:most]
    together = bool(raw.get("together")) and len(names) > 1
    groups = groups_of(facts)
    filters = _some(raw.get("filters"), FILTERS, default_filters(facts))
    return Plan(
        targets=(names,) if together else tuple((name,) for name in names),
        drawn=drawn,
        strengths=_strengths(raw.get("strengths"), default_strengths(explorer), most_strengths(demo=demo)),
        scalings=_some(raw.get("scalings"), SCALINGS, ("plain",)),
        filters=tuple(_sharpness(name) for name in filters),
        groups=tuple((name, groups[name]) for name in _some(raw.get("among"), groups, ("all",))),
        others=int(number(raw.get("beside"), *limits["beside"], min(BESIDE, most))),
        seed=seed,
        most=most_edits(demo=demo),
    )


def _some(value: Any, options: Iterable[str], default: Sequence[str]) -> tuple[str, ...]:
    wanted = set(value) if isinstance(value, list | tuple) else set()
    return tuple(name for name in options if name in wanted) or tuple(default)


def _strengths(value: Any, default: Sequence[float], most: int) -> tuple[float, ...]:
    found = {
        number(part, WEAKEST, STRONGEST, 0.0) for part in (value if isinstance(value, list | tuple) else ())
    }
    return tuple(sorted(found - {0.0})[:most]) or tuple(default)


def _sharpness(text: str) -> Sharpness:
    power, _, clipped = text.partition(" ")
    return Sharpness(float(power), bool(clipped))
