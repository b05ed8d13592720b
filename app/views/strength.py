"""Strength: search for it, choose by a rule, and try the choice on concepts that took no part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError
from engram_core.recommending import Recommendation
from engram_core.sweep import Sweep
from engram_core.trial import Step

from .. import frame
from ..adapter import strength
from ..adapter.base import Base
from ..choice import Choice, plain
from ..figures.strength_text import ABOUT, duration, say_table
from ..search import Plan, Rule
from . import controls
from .strength_ask import ask_plan, ask_rule
from .strength_found import Found, draw_found, draw_rest, figure_of

__all__ = ["page"]

PAGE = "strength"
_GO, _STOP = "_strength_go", "_strength_stop"  # plans that were started, or stopped, by hand
_ALONE = 60.0  # seconds: a longer search is started by hand
_REDRAW = 1.5  # seconds between two drawings while it goes on


def page(base: Base) -> None:
    """Draw the page for a model."""
    frame.title("How strong should the edit be?", ABOUT, page=PAGE)
    choice, plan = ask_plan(base)
    rule = ask_rule(base)
    if plan.edits > plan.most:
        st.warning(
            f"This search has {plan.settings:,} settings and {plan.edits:,} edits to score; at most "
            f"{plan.most:,} are scored here. Take fewer, or use `engram sweep`."
        )
        return
    try:
        _search(base, choice, plan, rule)
    except EngramError as error:
        st.warning(plain(str(error)))


def _search(base: Base, choice: Choice, plan: Plan, rule: Rule) -> None:
    work = strength.sweep_of(base, plan)
    for _ in work.steps(only_kept=True):  # what this visitor or another one has measured already
        pass
    status, numbers = st.empty(), st.empty()
    head, place, below = st.container(), st.empty(), st.container()
    early = _Early(base, rule, place)
    if not work.ended:
        _measure(base, plan, work, status, early)
    table = work.table()
    if table.empty:
        return
    verdict = strength.judged(table, rule)
    control = held = None
    if isinstance(verdict, Recommendation) and work.ended:
        with below:
            wanted = controls.control_wanted(base.facts)
        if wanted:
            early.draw(table)
            control = _rows(strength.control(base, plan, verdict), status, "Control")
        if st.session_state.get("tried") is True and strength.others_to_try(base, plan):
            early.draw(table)
            held = _rows(strength.confirmed(base, plan, verdict), status, "On others")
    found = Found(base, choice, plan, rule, table, verdict, control, held)
    with head:
        part = draw_found(found, numbers, place)
    with below:
        draw_rest(found, part)


def _measure(base: Base, plan: Plan, work: Sweep, status: Any, early: _Early) -> None:
    """Measure what is not known yet, unless that waits for the visitor's hand."""
    known = len(work.table())
    expected = strength.seconds(base, plan) * (1 - known / plan.settings)
    about = f"about {duration(expected)} for {plan.settings - known} settings"
    stopped = st.session_state.get(_STOP) == plan
    by_hand = base.facts.large or expected > _ALONE
    early.draw(work.table())
    if stopped or (by_hand and st.session_state.get(_GO) != plan):
        with status.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Go on" if stopped else "Search", type="primary", icon=":material/play_arrow:",
                key="strength_go", on_click=_start, args=(plan,),
            )  # fmt: skip
            done = f"{say_table(known, plan.settings)} " if known else ""
            st.markdown(f"{done}It takes {about}. What is measured is kept as it comes.")
        return
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text=f"Searching: {about}")
        st.button("Stop", key="strength_stop", icon=":material/stop:", on_click=_stop, args=(plan,))
    began = time.monotonic()
    there = known * len(plan.targets)  # edits that take no time
    for step in work.steps():
        mine = step.done - there
        left = (time.monotonic() - began) / mine * (step.total - step.done) if mine > 0 else expected
        bar.progress(
            min(step.done / step.total, 1.0),
            text=f"{step.done // len(plan.targets)} of {plan.settings} settings, about {duration(left)} "
            f"left. Now: {plain(step.text)}",
        )
        if step.row is not None:
            early.draw_at_times(work.table())
    status.empty()


def _start(plan: Plan) -> None:
    st.session_state[_GO] = plan
    st.session_state.pop(_STOP, None)


def _stop(plan: Plan) -> None:
    st.session_state[_STOP] = plan


class _Early:
    """Draws what is known while more is measured."""

    def __init__(self, base: Base, rule: Rule, place: Any) -> None:
        self._place = place
        self._base, self._rule = base, rule
        self._last, self._drawn = 0.0, 0

    def draw_at_times(self, table: pd.DataFrame) -> None:
        """Draw, unless that was done just now."""
        if time.monotonic() - self._last > _REDRAW:
            self.draw(table)

    def draw(self, table: pd.DataFrame) -> None:
        """Draw, if there is anything new."""
        if len(table) == self._drawn:
            return
        with self._place.container():
            st.plotly_chart(
                frame.on_screen(figure_of(self._base, table, self._rule)), config=frame.CHART,
                key=f"frontier_early_{len(table)}", alt=f"{len(table)} settings so far",
            )  # fmt: skip
        self._last, self._drawn = time.monotonic(), len(table)


def _rows(steps: Iterator[Step], status: Any, what: str) -> pd.DataFrame:
    rows = []
    for step in steps:
        if step.row is not None:
            rows.append(step.row)
        if step.done < step.total:
            status.progress(step.done / step.total, text=f"{what}: {plain(step.text)}")
    status.empty()
    return pd.DataFrame(rows)
