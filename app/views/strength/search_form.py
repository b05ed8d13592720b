"""Strength, the questions: what is searched, and by which rule one setting is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ...choice import search
from ...choice.choice import SCALINGS, Choice, number
from ...choice.search import CHOSEN, DRAWN, FORGET, Plan, Rule
from ...compute import plans
from ...figures.words.as_text import Markdown, plain
from ...figures.words.live import HOW
from ...figures.words.options import option_word
from ...figures.words.strength import HELP, MEASURE_NAMES, say_plan
from ...options import server_options
from ...server.base import Base
from ..shared import controls

__all__ = ["ask_plan", "ask_rule"]

_EDIT = "_searched_edit"  # the concepts of the edit when this page was drawn last


def ask_plan(base: Base) -> tuple[Choice, Plan]:
    """Draw what is searched; return the edit, whose concepts may be searched on, and the search."""
    facts, demo = base.facts, server_options().demo
    left, right = st.columns([20, 8], vertical_alignment="bottom")
    with right:
        choice = controls.folded(facts, find=False)
    # One row that breaks where the page is narrow: columns would cut the choices off.
    with left, st.container(horizontal=True, vertical_alignment="bottom"):
        _follow_edit(choice)
        controls.ready("search", search.SOURCES, CHOSEN if choice.concepts else DRAWN)
        source = st.segmented_control(
            "Concepts",
            search.SOURCES,
            key="search",
            persist_state="session",
            required=True,
            format_func=option_word,
        )
        if source == DRAWN or not choice.concepts:
            _whole("count", "How many", base, search.start_count(facts), width=105)
        _whole("draw", "Seed", base, 0, width=105)
        st.toggle("Erase jointly", key="together", persist_state="session", help=HELP["together"])
    if source != DRAWN and not choice.concepts:
        st.info("No concept is chosen under “Current edit”; some are drawn at random instead.")
    said, more = st.columns([20, 8], vertical_alignment="center")
    with more, st.popover("Settings to try", icon=":material/tune:", width="stretch", key="settings_tried"):
        _settings(base, demo)
    plan = plans.plan_of(_values(), facts, choice.concepts, base.explorer, demo=demo)
    said.caption(plain(say_plan(plan)))
    return choice, plan


def _follow_edit(choice: Choice) -> None:
    """Search on the visitor's own concepts once some are chosen; who then wants others says so."""
    if choice.concepts and st.session_state.get(_EDIT, choice.concepts) != choice.concepts:
        st.session_state["search"] = CHOSEN
    st.session_state[_EDIT] = choice.concepts


def _settings(base: Base, demo: bool) -> None:
    facts = base.facts
    one, two = st.columns(2)
    with one:
        _several(
            "strengths", "Strengths", search.LADDER,
            [f"{s:g}" for s in search.default_strengths(base.explorer)],
            help=HELP["strengths"], accept_new_options=not demo,
            max_selections=search.most_strengths(demo=demo),
        )  # fmt: skip
        _several("among", "Groups of layers", list(plans.groups_of(facts)), ["all"], help=HELP["among"])
    with two:
        _several(
            "filters", "Selectivity (exponent)", search.FILTERS, search.default_filters(facts),
            help=f"{HOW['power']} Capped at 1×: {HOW['clip']}",
            format_func=option_word,
        )  # fmt: skip
        _several("scalings", "Scaling of the layers", SCALINGS, ["plain"], help=HOW["scaling"])
    _whole("beside", "Others asked with each", base, search.BESIDE, width=200)


def _values() -> dict[str, Any]:
    return {str(key): value for key, value in st.session_state.items()}


def _whole(key: str, text: Markdown, base: Base, start: int, **options: Any) -> None:
    low, high = (int(end) for end in search.bounds(base.facts, demo=server_options().demo)[key])
    value = st.session_state.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        st.session_state[key] = min(max(start, low), high)
    st.number_input(text, low, high, key=key, persist_state="session", help=HELP[key], **options)


def _several(key: str, text: Markdown, options: Sequence[str], default: Sequence[str], **more: Any) -> None:
    """Draw a list of which none chosen means the default, written in grey."""
    confirmed = st.session_state.get(key)
    new = more.get("accept_new_options", False)
    kept = [
        part
        for part in (confirmed if isinstance(confirmed, list | tuple) else ())
        if part in options or (new and number(part, search.WEAKEST, search.STRONGEST, 0.0))
    ]
    st.session_state[key] = list(dict.fromkeys(kept))[: more.get("max_selections")]
    st.multiselect(
        text, options, key=key, persist_state="session", placeholder=", ".join(map(option_word, default)),
        select_all=False, **more,
    )  # fmt: skip


def ask_rule(base: Base) -> Rule:
    """Draw the rule; return it."""
    facts = base.facts
    score = sum(base.scores.values()) / len(base.scores)
    with st.container(horizontal=True, vertical_alignment="bottom", key="strength_rule"):
        controls.ready("rule", search.RULES, FORGET)
        chosen = st.segmented_control(
            "Rule", search.RULES, key="rule", persist_state="session", required=True
        )
        kind = chosen if chosen in search.RULES else FORGET
        slot = st.container(width="content")
        measure = _measure(search.measures_of(facts))
        nats, key = "nll" in measure, "forget" if kind == FORGET else "damage"
        value = st.session_state.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
            st.session_state[key] = search.start_rule(kind, measure, score)
        slot.number_input(
            "nats per token" if nats else "points", 0.0, 100.0, key=key, persist_state="session", width=140,
            step=0.1 if nats else 1.0 if kind == FORGET else 0.5, format="%.1f", help=HELP[key],
        )  # fmt: skip
        st.toggle("Validate on held-out concepts", key="tried", persist_state="session", help=HELP["tried"])
    return search.rule_of(_values(), facts, score)


def _measure(measures: Sequence[str]) -> str:
    if len(measures) == 1:
        return measures[0]
    controls.ready("measure", measures, measures[0])
    chosen = st.selectbox(
        "Measured by", measures, key="measure", persist_state="session", width=270, help=HELP["measure"],
        format_func=lambda name: MEASURE_NAMES[name], on_change=_forget_bounds,
    )  # fmt: skip
    return chosen if chosen in measures else measures[0]


def _forget_bounds() -> None:
    """Let go of the bounds: points and nats have nothing in common."""
    for key in ("forget", "damage"):
        st.session_state.pop(key, None)
