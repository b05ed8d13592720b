"""Pages: each reads the choice, asks the core through the adapter, and draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..choice import search
from ..choice.choice import NULLS, SCALINGS, SEEDS, Facts
from ..choice.matrix import CELLS, ORDERS
from ..compute import plans
from ..figures.words.criteria import KEPT, NAMES
from ..figures.words.layers import LOOKS, SHADES
from . import learn, start
from .concept import page as concept
from .criteria import page as criteria
from .criteria import responses as criteria_responses
from .layers import page as layers
from .live import chat as live_chat
from .live import inside as live_inside
from .live import page as live
from .maps import engrams as map_engrams
from .maps import page as map
from .my_model import page as model
from .strength import page as strength

__all__ = ["REGISTRY", "View", "offered"]


@dataclass(frozen=True)
class View:
    """One page.

    Attributes:
        path: its name in the address.
        title: its name on the screen.
        draw: draws it; gets the base if it needs one.
        needs_base: whether it is about the chosen model.
        first: whether it is the page of the bare address.
    """

    path: str
    title: str
    draw: Callable[..., Any]
    needs_base: bool = True
    first: bool = False


REGISTRY: tuple[View, ...] = (
    View("start", "Start", start.page, first=True),
    View("live", "Live", live.page),
    View("concept", "Concept", concept.page),
    View("criteria", "Criteria", criteria.page),
    View("strength", "Strength", strength.page),
    View("map", "Map", map.page),
    View("layers", "Layers", layers.page),
    View("learn", "Learn", learn.page, needs_base=False),
    View("model", "My model", model.page, needs_base=False),
)
"""The pages, in the order of the menu."""


def offered(facts: Facts) -> Mapping[str, Sequence[str]]:
    """Return what the pages offer for a model beside the edit, by the keys of the address."""
    known: dict[str, Sequence[str]] = {
        "concept": facts.classes, "sort": ORDERS, "cells": CELLS, "only": facts.classes,
        "criterion": NAMES, "state": NULLS, "at": (criteria_responses.MEAN, *facts.layers),
        "edited": facts.classes, "probed": facts.classes, "points": map.POINTS, "method": tuple(map.METHODS),
        "dimensions": tuple(map.SIZES), "fit": tuple(map.FITS), "look": LOOKS, "shade": SHADES,
        "lookat": facts.layers, "which": facts.classes, "engramcolour": map_engrams.COLOURS,
        "seeds": SEEDS, "kept_in": KEPT,
        "search": search.SOURCES, "rule": search.RULES,
        "filters": search.FILTERS, "scalings": SCALINGS, "among": tuple(plans.groups_of(facts)),
        "measure": search.measures_of(facts),
    }  # fmt: skip
    if facts.kind == "text":
        known |= {
            "about": facts.classes,
            "inside": facts.classes,
            "section": live_inside.SECTIONS,
            "form": live_chat.FORMS,
        }
    return known
