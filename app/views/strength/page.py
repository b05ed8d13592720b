"""Strength: search for it, choose by a rule, and try the choice on concepts that took no part."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError
from engram_core.progress import Step, Steps, watch
from engram_core.tuning.recommend import Recommendation
from engram_core.tuning.sweep import Sweep

from ...choice.choice import Choice
from ...choice.search import Plan, Rule
from ...compute import strength
from ...figures.words.as_text import plain
from ...figures.words.strength import ABOUT, duration, say_table
from ...page import frame, parts, progress
from ...server.base import Base
from ..shared import controls
from .result import SearchResult, draw_rest, draw_result, figure_of
from .search_form import ask_plan, ask_rule

__all__ = ["page"]

PAGE = "strength"
_GO = "_strength_go"  # the search that was started by hand
_ALONE = 60.0  # seconds: a longer search is started by hand
_REDRAW = 1.5  # seconds between two drawings while it goes on


def page(base: Base) -> None:
    """Draw the search for the strength for a model."""
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
        st.warning(plain(error))


def _search(base: Base, choice: Choice, plan: Plan, rule: Rule) -> None:
    work = strength.sweep_of(base, plan)
    status, confirm_place, numbers = st.empty(), st.empty(), st.empty()
    head, place, below = st.container(), st.empty(), st.container()
    early = _Early(base, rule, place)
    if not work.ended:
        _measure(base, plan, work, status, early)
    table = work.table()
    if table.empty:
        return
    verdict = strength.judged(table, rule)
    control = confirmed = None
    if isinstance(verdict, Recommendation) and work.ended:
        with below:
            wanted = controls.control_wanted(base.facts)
        if wanted:
            early.draw(table)
            control = _rows(strength.measure_control(base, plan, verdict), status, "Control", (plan, rule))
        if st.session_state.get("tried") is True and strength.others_to_try(base, plan):
            early.draw(table)
            confirmed = _rows(
                strength.confirm_on_others(base, plan, verdict), confirm_place, "On others", (plan, rule)
            )
    result = SearchResult(base, choice, plan, rule, table, verdict, control, confirmed)
    with head:
        part = draw_result(result, numbers, place)
    with below:
        draw_rest(result, part)


def _measure(base: Base, plan: Plan, work: Sweep, status: Any, early: _Early) -> None:
    """Measure what is not known yet, unless that waits for the visitor's hand."""
    known = len(work.table())
    expected = strength.seconds(base, plan) * (1 - known / plan.settings)
    about = f"about {duration(expected)} for {plan.settings - known} settings"
    so_far = f"{say_table(known, plan.settings)} " if known else ""
    early.draw(work.table())
    if (base.facts.slow or expected > _ALONE) and st.session_state.get(_GO) != plan:
        with status.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Search", type="primary", icon=":material/play_arrow:", key="strength_go",
                on_click=_start, args=(plan,),
            )  # fmt: skip
            st.markdown(plain(f"{so_far}It takes {about}. What is measured is kept as it comes."))
        return
    with status.container():
        # Another rule, or another mark that is picked, is no other search: what is stopped stays so.
        bar, message = progress.Bar("search", of=plan), st.empty()
    try:
        bar.advance(known / plan.settings, text=f"Searching: {about}")
        _bring(work, plan, known, bar, expected, early)
    except progress.Stopped:
        message.markdown(plain(f"{so_far}The rest takes {about}."))
        return
    status.empty()


def _bring(work: Sweep, plan: Plan, known: int, bar: progress.Bar, expected: float, early: _Early) -> None:
    """Measure, with a bar that says how long it still takes."""
    began, there = time.monotonic(), known * len(plan.targets)  # edits that take no time

    def see(step: Step[pd.DataFrame]) -> None:
        mine = step.done - there
        total = step.total or 1
        left = (time.monotonic() - began) / mine * (total - step.done) if mine > 0 else expected
        bar.advance(
            step.share,
            text=f"{int(step.done) // len(plan.targets)} of {plan.settings} settings, "
            f"about {duration(left)} left. Now: {step.what}",
        )
        if step.partial is not None and not step.partial.empty:
            early.draw_at_times(step.partial)

    watch(strength.search(work), see)


def _start(plan: Plan) -> None:
    st.session_state[_GO] = plan


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
                parts.on_screen(figure_of(self._base, table, self._rule)), config=parts.CHART,
                key=f"frontier_early_{len(table)}", alt=f"{len(table)} settings so far",
            )  # fmt: skip
        self._last, self._drawn = time.monotonic(), len(table)


def _rows(steps: Steps[pd.DataFrame], status: Any, what: str, of: Any) -> pd.DataFrame | None:
    """Return what the steps measure; None if the visitor has stopped them."""
    with status.container(), suppress(progress.Stopped):
        return progress.run(steps, key=what, of=of, what=what)
    return None
