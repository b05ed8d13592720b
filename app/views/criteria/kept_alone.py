"""Criteria, sufficiency layer by layer: what a concept kept alone in one part of the layers still does."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ...choice.choice import FROM_NOTHING, IN_PLACE, Choice
from ...compute import kept_alone as kept
from ...compute.criteria import Selection
from ...figures.charts.dots import Dots, dots
from ...figures.charts.palette import BASE, EDITED
from ...figures.words.as_text import plain
from ...figures.words.criteria import HOW, say_kept
from ...figures.words.layers import say_kinds
from ...figures.words.options import SHOWN
from ...page import parts, progress
from ...page.snippets import subset_code
from ...server.base import Base
from ..shared import controls

__all__ = ["draw"]

PAGE = "criteria"


def draw(base: Base, choice: Choice, chosen: Selection) -> None:
    """Draw the scores of kept and of other concepts, one part of the layers in each row.

    Args:
        base: the model.
        choice: its sharpness and its layers count.
        chosen: which concepts.
    """
    asked = kept.kept_of(choice, chosen)
    name = f"Sufficiency {'block by block' if asked.blocks else 'layer by layer'}"
    how = HOW["kept by layer"].format(sets=len(asked.concepts))
    part = parts.part(PAGE, name, how, base, choice)
    st.caption(plain(_measured(base, asked)))
    if not controls.wanted(base.facts, "Measure it", "measure_kept", HOW["asked"]):
        return
    table: pd.DataFrame = progress.run(kept.measure_kept(base, choice, chosen))
    rows = list(asked.places)
    wide = {
        null: table[table["null"] == null].set_index("layer").reindex(rows)
        for null in ("nothing", "in place")
    }
    series = []
    for null, symbol in (("nothing", "circle"), ("in place", "square-open")):
        title = SHOWN[FROM_NOTHING if null == "nothing" else IN_PLACE]
        of = wide[null]
        series += [
            Dots(f"others, {title}", 100 * of["others"].to_numpy(), BASE, symbol),
            Dots(f"isolated, {title}", 100 * of["kept"].to_numpy(), EDITED, symbol),
        ]
    unit = "Exact recall (%)" if base.is_text else "Accuracy (%)"
    part.figure(
        "kept_by_layer",
        dots(
            ["all layers" if row == kept.ALL_LAYERS else row for row in rows],
            series,
            row="Isolated in",
            value=unit,
            lines=[("base, isolated concepts", 100 * float(table["base"].iloc[0]), BASE)],
            span=(-2, 103),
        ),
        words=say_kept(table, kept.ALL_LAYERS),
        numbers=table,
        code=_code(base, choice, chosen, asked),
        names=say_kinds(list(asked.places)[1:]),
    )


def _measured(base: Base, asked: kept.Kept) -> str:
    beside = "all others" if asked.others is None else f"{asked.others} others drawn at random (seed 0)"
    text = f"{len(asked.concepts)} concepts, each isolated, with {beside} beside it, at strength 1."
    if asked.blocks:
        text += (
            " So many layers are asked block by block; choose single ones under “Current edit” to see each."
        )
    if base.facts.slow:
        count = 2 * len(asked.places) * len(asked.concepts)
        text += (
            f" These are {count:,} edited models to score: minutes, and it can be stopped and gone on with."
        )
    return text


def _code(base: Base, choice: Choice, chosen: Selection, asked: kept.Kept) -> str:
    options = [f"concepts={list(asked.concepts)!r}"]
    if asked.others is not None:
        options.append(f"others={asked.others}")
    if asked.blocks:
        options.append('groups="blocks"')
    if not choice.everywhere:
        options.append(f"layers={list(choice.layers)!r}")
    some = subset_code(chosen.probed, base.facts.classes)
    return f"{some}\ntable = ec.sufficiency_by_layer(some, atlas, {', '.join(options)})"
