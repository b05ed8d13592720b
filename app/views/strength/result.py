"""Strength, the answer: the figure, the recommended setting, the way to Live, and its trial on others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engram_core.tuning.recommend import NoSettingError, Recommendation, in_words
from engram_core.tuning.sweep import frontier

from ...choice import search
from ...choice.choice import ERASE, Choice
from ...choice.search import FORGET, Plan, Rule
from ...compute import strength, texts
from ...figures.charts.clicks import picked_points
from ...figures.charts.frontier import frontier_figure
from ...figures.charts.frontier_axes import Extras
from ...figures.charts.settings import clicked_row, table_row
from ...figures.panels.hero import stats
from ...figures.words.as_text import plain
from ...figures.words.strength import (
    HOW,
    say_confirmed,
    say_control,
    say_nearest,
    say_recommended,
    say_table,
    value_of,
)
from ...page import headings, parts
from ...page.snippets import sweep_code
from ...server.base import Base
from ..shared.to_live import send_to_live

__all__ = ["SearchResult", "draw_result", "draw_rest", "figure_of"]

PAGE = "strength"


@dataclass(frozen=True)
class SearchResult:
    """What a search came to, as far as it is known.

    Attributes:
        base: the model.
        choice: the edit that is in force on the other pages.
        plan: the search.
        rule: the rule.
        table: one row per setting.
        verdict: what the rule recommends, or that no setting keeps it.
        control: see `ec.sham`; None if it was not measured.
        confirmed: see `ec.confirm`; None if it was not measured.
    """

    base: Base
    choice: Choice
    plan: Plan
    rule: Rule
    table: pd.DataFrame
    verdict: Recommendation | NoSettingError
    control: pd.DataFrame | None
    confirmed: pd.DataFrame | None

    @property
    def best(self) -> Recommendation | None:
        """What the rule recommends, if anything."""
        return self.verdict if isinstance(self.verdict, Recommendation) else None

    @property
    def nearest(self) -> dict[str, Any] | None:
        """What comes nearest to a rule that no setting keeps."""
        return self.verdict.nearest if isinstance(self.verdict, NoSettingError) else None

    @cached_property
    def names(self) -> dict[str, dict[str, Any]]:
        """The settings by the text that an address holds."""
        rows = ({str(k): v for k, v in row.items()} for row in self.table.to_dict("records"))
        return {search.setting_text(row): row for row in rows}

    @property
    def start(self) -> str:
        """The setting that stands under the visitor's hand until another one is picked."""
        marked = self.best.setting if self.best is not None else self.nearest
        return next(iter(self.names)) if marked is None else search.setting_text(marked)

    @property
    def picked(self) -> str:
        """The setting under the visitor's hand."""
        name = st.session_state.get("setting")
        return name if name in self.names else self.start

    @property
    def edit(self) -> Choice:
        """The edit of that setting: on the visitor's concepts, or else on those that were erased first."""
        row, layers = self.names[self.picked], self.base.facts.layers
        only = dict(self.plan.groups)[str(row["group"])]
        return replace(
            self.choice, mode=ERASE, concepts=self.choice.concepts or self.plan.targets[0],
            single_strengths=(),
            strength=float(row["strength"]), scaling=str(row["scaling"]), power=float(row["power"]),
            clip=bool(row["clip"]), layers=only, everywhere=only == layers,
        )  # fmt: skip

    @property
    def tail(self) -> str:
        """End of the names of the columns that the rule is about."""
        return "" if self.rule.measure == "score" else f"_{self.rule.measure}"

    @property
    def extras(self) -> Extras:
        """What is drawn beside the settings."""
        extras = replace(_bounds(self.rule), control=self.control, nearest=self.nearest)
        if self.confirmed is not None:
            damage, lost = (float(self.confirmed[f"{name}{self.tail}"].mean()) for name in ("damage", "lost"))
            extras = replace(extras, confirmed=(damage, lost), confirmed_on=f"{len(self.confirmed)} others")
        marked = self.best.setting if self.best is not None else self.nearest
        row = self.names[self.picked]
        if marked is None or table_row(row) != table_row(marked):
            extras = replace(extras, picked=row)
        return extras

    @property
    def words(self) -> str:
        """The figure in a sentence or three."""
        if self.best is None:
            return say_nearest(self.nearest, self.rule, len(self.table))
        words = say_recommended(self.best.figures, self.best.setting, self.rule, self.plan, len(self.table))
        if self.control is not None:
            words += say_control(self.control, self.best.figures, self.rule)
        return words


def _bounds(rule: Rule) -> Extras:
    return Extras(least=rule.bound) if rule.kind == FORGET else Extras(most=rule.bound)


def figure_of(base: Base, table: pd.DataFrame, rule: Rule, result: SearchResult | None = None) -> go.Figure:
    """Return the figure of a search, finished or not."""
    return frontier_figure(
        table, frontier(table, measure=rule.measure), measure=rule.measure, unit=base.sample.task.unit,
        chosen=None if result is None or result.best is None else result.best.setting,
        extras=_bounds(rule) if result is None else result.extras,
    )  # fmt: skip


def draw_result(result: SearchResult, numbers: Any, place: Any) -> parts.Part:
    """Draw the recommendation and the figure; return the part of the page that they are.

    Args:
        result: what it is.
        numbers: place of the large numbers.
        place: place of the figure.

    Returns:
        The part of the page that they are, for its report.
    """
    base, plan, rule, table = result.base, result.plan, result.rule, result.table
    if result.best is not None:
        numbers.html(stats(_summary(result, result.best)))
    else:
        numbers.warning(plain(result.words))
    shams = 0 if result.control is None else strength.SHAMS
    part = parts.part(PAGE, "Forgetting against damage", HOW["frontier"], base, result.edit)
    part = replace(part, more={"search": plan.data, "rule": rule.options | {"measure": rule.measure}})
    key = f"frontier_{rule.measure}"
    part.figure(
        "frontier",
        figure_of(base, table, rule, result),
        words=result.words,
        numbers=table,
        code=sweep_code(plan, rule, result.best, shams),
        place=place.container(),
        on_select=partial(_clicked, key, table),
        selection_mode="points",
        key=key,
        config=parts.CHART,
    )
    return part


def draw_rest(result: SearchResult, part: parts.Part) -> None:
    """Draw what stands below the figure: the way to Live, the trial on others, the table.

    Args:
        result: what was found.
        part: from `draw_result`.
    """
    plan, table = result.plan, result.table
    _use(result)
    _confirmed(part, result)
    with st.expander(f"Table of all settings ({len(table)})"):
        replace(part, text="Every setting of the search", how=HOW["table"]).table(
            "settings", table, words=say_table(len(table), plan.settings),
            code=sweep_code(plan, result.rule, None, 0),
        )  # fmt: skip


def _summary(result: SearchResult, best: Recommendation) -> list[tuple[str, str, str]]:
    tail, rule, figures = result.tail, result.rule, best.figures
    where = in_words(best.setting).partition(", ")[2]
    rows = [("Recommended", f"Strength {best.setting['strength']:g}", where)]
    for text, side, note in (
        ("Erased", "forget", f"mean of the {len(best.found_on)} it was found on"),
        ("Others", "retain", f"mean of those asked with each ({result.plan.others})"),
    ):
        before, after = figures[f"base_{side}{tail}"], figures[f"{side}{tail}"]
        if result.control is not None:
            note += f"; control {value_of(float(result.control[f'{side}{tail}'].mean()), rule)}"
        rows.append((text, f"{value_of(before, rule)} → {value_of(after, rule)}", note))
    if result.confirmed is not None:
        mean = {
            side: value_of(float(result.confirmed[f"{side}{tail}"].mean()), rule)
            for side in ("base_forget", "forget", "base_retain", "retain")
        }
        rows.append(
            (
                "Validated on held-out concepts",
                f"{mean['base_forget']} → {mean['forget']}",
                f"mean of {len(result.confirmed)} that took no part; the rest {mean['base_retain']} → "
                f"{mean['retain']}",
            )
        )
    return rows


def _clicked(key: str, table: pd.DataFrame) -> None:
    row = clicked_row(picked_points(st.session_state.get(key)), table)
    if row is not None:
        st.session_state["setting"] = search.setting_text(row)


def _use(result: SearchResult) -> None:
    """Offer any setting for Live: the one that was clicked, or one from the list."""
    names = {name: in_words(row) for name, row in result.names.items()}
    if st.session_state.get("setting") not in names:
        st.session_state["setting"] = None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Setting (a click on a mark picks it too)", list(names), key="setting", persist_state="session",
            format_func=lambda name: names.get(name, ""),
            placeholder=("Recommended: " if result.best is not None else "") + names[result.start],
        )  # fmt: skip
        pressed = st.button(
            "Use this setting", icon=":material/bolt:", type="primary", key="use_setting",
            help="Applies it to the concepts under “Current edit”, or those searched on, and opens Live.",
        )  # fmt: skip
    if pressed:
        shown = {} if result.choice.concepts else _input(result.base, result.edit.concepts[0])
        send_to_live(result.edit, **shown)


def _input(base: Base, concept: str) -> dict[str, Any]:
    """Return an input of a concept that the visitor did not choose, so that Live shows what was erased."""
    if not base.is_text:
        return {"class": concept, "image": 1, "drawn": ""}
    asked = texts.questions_of(base, concept)
    return {"about": concept} | ({"prompt": asked[-1].prompt} if asked else {})


def _confirmed(part: parts.Part, result: SearchResult) -> None:
    base, plan, best = result.base, result.plan, result.best
    if best is None or st.session_state.get("tried") is not True:
        return
    if result.confirmed is None:
        if not strength.others_to_try(base, plan):
            st.info("Too few concepts took no part in the search to try it on. Search on fewer.")
        return
    name = "Found on some, validated on held-out concepts"
    headings.heading(name, HOW["held"])
    st.markdown(plain(say_confirmed(result.confirmed, best.figures, result.rule, plan)))
    side = {key: value for key, value in best.figures.items() if key in result.confirmed}
    first = pd.DataFrame([{"concept": f"(the search: {', '.join(plan.concepts)})"} | side])
    replace(part, text=name, how=HOW["held"]).table(
        "held", pd.concat([result.confirmed, first], ignore_index=True),
        words="One row for each that was erased, at the recommended setting; the last row is the search.",
        code=sweep_code(
            plan, result.rule, best, 0, strength.others_to_try(base, plan), strength.others_asked(base)
        ),
    )  # fmt: skip
