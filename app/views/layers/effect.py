"""Layers, effect: what editing in one part of the layers does, and the way from there to Live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from ...choice.choice import FROM_NOTHING, Choice
from ...compute import by_layer as layer_tables
from ...compute.criteria import MANY
from ...figures.charts.dots import Dots, dots
from ...figures.charts.palette import BASE, CONTROL, EDITED, LOSS
from ...figures.words import layers as text
from ...figures.words.as_text import plain
from ...figures.words.live import describe_edit
from ...page import parts, progress
from ...page.snippets import subset_code
from ...server.base import Base
from ...session import state
from ..shared import controls
from ..shared.to_live import send_to_live

__all__ = ["draw"]

PAGE = "layers"


def draw(base: Base, choice: Choice) -> None:
    """Draw the scores after editing in one part of the layers at a time, and the choice of parts for Live."""
    edit = _erased(base, state.erasing_of(base.facts))
    ways = layer_tables.groups_of(base)
    controls.ready("by", list(ways), next(iter(ways)))
    by = st.segmented_control(
        "Divide the layers",
        list(ways),
        format_func=plain,
        key="by",
        persist_state="session",
        required=True,
    )
    groups = ways.get(by or "") or next(iter(ways.values()))
    probes = layer_tables.effect_probes(base, edit)
    if not choice.concepts:
        st.info(plain(f"No concept is chosen under “Current edit”; shown for {edit.concepts[0]}."))
    rest = len(probes) - len(edit.concepts)
    name = f"{describe_edit(edit)}: in one part of the layers at a time"
    part = parts.part(PAGE, name, text.HOW["effect"], base, edit)
    seeds = controls.seeds_wanted(layer_tables.SHAMS, MANY)
    table: pd.DataFrame = progress.run(layer_tables.measure_effects(base, edit, groups, seeds))
    names = list(dict.fromkeys(table["group"]))
    sides = {side: _means(table[table["erased"] == side], names) for side in (True, False)}
    mine, others = sides[True], sides[False]
    series = [
        Dots("erased, random edit of the same size", 100 * mine["gaussian"], CONTROL, "diamond",
             100 * mine["gaussian_low"], 100 * mine["gaussian_high"]),
        Dots("others, random edit of the same size", 100 * others["gaussian"], CONTROL, "diamond-open"),
        Dots("erased", 100 * mine["score"], LOSS, "circle"),
        Dots(f"others (mean of {rest})", 100 * others["score"], EDITED, "square"),
    ]  # fmt: skip
    unit = "Exact recall (%)" if base.is_text else "Accuracy (%)"
    part.figure(
        "effect",
        dots(
            names,
            series,
            row="Edited in",
            value=unit,
            lines=[
                ("base, erased", 100 * float(mine["base"][0]), LOSS),
                ("base, others", 100 * float(others["base"][0]), BASE),
            ],
            span=(-2, 103),
        ),
        words=text.say_effect(names, mine, others),
        numbers=table,
        code=_code(base, edit, groups, probes, seeds),
        names=text.say_kinds([*groups, *base.facts.layers]),
    )
    _restrict(edit, groups)


def _erased(base: Base, choice: Choice) -> Choice:
    """Return the edit of this figure: the chosen concepts, or the first one, taken out of all layers."""
    concepts = choice.concepts or base.facts.classes[:1]
    strength = choice.strength if choice.strength else base.facts.strength
    return replace(
        choice, null=FROM_NOTHING, concepts=concepts, strength=strength, layers=base.facts.layers,
        everywhere=True,
    )  # fmt: skip


def _means(table: pd.DataFrame, names: list[str]) -> dict[str, np.ndarray]:
    columns = ["score", "base", "gaussian", "gaussian_low", "gaussian_high"]
    mean = table.groupby("group")[columns].mean().reindex(names)
    return {column: mean[column].to_numpy() for column in columns}


def _code(
    base: Base, edit: Choice, groups: dict[str, tuple[str, ...]], probes: tuple[str, ...], seeds: int
) -> str:
    places = {"all layers": list(base.facts.layers)} | {
        name: list(members) for name, members in groups.items()
    }
    return (
        f"{subset_code(probes, base.facts.classes)}\ngroups = {places!r}\n"
        f"table = ec.layer_effects(some, atlas, erase={edit.strengths!r}, groups=groups, "
        f"scaling={edit.scaling!r}, controls={seeds})"
    )


def _restrict(edit: Choice, groups: dict[str, tuple[str, ...]]) -> None:
    st.markdown("##### Use it")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            "Edit only in", list(groups), key=f"_only {len(groups)}",
            placeholder="Choose one or more parts", select_all=False,
        )  # fmt: skip
        pressed = st.button(
            "Use only these layers in Live", icon=":material/bolt:", type="primary", disabled=not chosen,
            key="to_live",
        )  # fmt: skip
    if pressed:
        wanted = {layer for name in chosen for layer in groups[name]}
        layers = tuple(layer for layer in edit.layers if layer in wanted)
        send_to_live(replace(edit, layers=layers, everywhere=layers == edit.layers))
