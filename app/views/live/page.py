"""Live: one input, one edit, both outputs side by side and four numbers; then the score of every concept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engram_core.errors import EngramError
from engram_core.progress import Step, watch

from ...choice.choice import Choice
from ...compute import scores as scoring
from ...compute.criteria import MANY
from ...compute.scores import score_controls, score_edit, z_and_p
from ...compute.strip import measure_strip, strip_of
from ...figures.charts.bars import score_figure
from ...figures.charts.control import Control
from ...figures.panels.hero import stats
from ...figures.panels.strip import strip_html
from ...figures.words.as_text import plain
from ...figures.words.live import HOW, groups_of, marks_of, mean_of, say_scores
from ...figures.words.significance import say_test
from ...figures.words.strip import HOW_STRIP, Strip, cells
from ...page import frame, parts, progress
from ...page.snippets import scores_code
from ...server.base import Base
from ...session import state, visitors
from ..shared import controls, model_cards
from . import export as take_model
from . import proof
from .places import Places
from .sides import side_of

__all__ = ["page"]

PAGE = "live"

# Let the browser draw the answer before the slow part takes the processor. A visitor who moves on within it,
# as when a slider is dragged, costs no scoring at all: the next `st` call ends this run.
_BREATH = 0.25

_UNASKED = "not measured unasked: it takes minutes (“Run the control”)"

_MOST_BARS = 16  # concepts drawn as bars; the table has them all


def page(base: Base) -> None:
    """Draw the page for a model: what both models say, the switches and four numbers first, then all else."""
    # Places first, work later: what is slow stands last and can be given up when the visitor moves on.
    side = side_of(base)
    dock = frame.title(side.TITLE, "", page=PAGE)
    model_cards.draw()
    if dock is None:
        side.ask(base)
    panel = side.stage(base)
    controls.switches(base.facts)
    strip = st.empty()
    foot = right = behind = None
    if dock is not None:
        with dock:
            _docked(base, side)
        behind = st.expander(
            "All figures, questions, layers, and the export", key="stage_behind", on_change="rerun"
        )
        if behind.open:
            with behind:
                foot, right = st.container(), st.container()
    else:
        foot = st.container(key="stage_foot", horizontal=True, gap="medium")
        right = _open(base, side)
    choice = state.choice_of(base.facts)
    visitor = visitors.visitor_of(base)
    try:
        found = visitor.put(choice)
    except EngramError as error:
        panel.warning(plain(error))
        return
    side.outputs(base, visitor, choice, found, Places(panel, foot, right))
    found_strip = _strip(base, choice, strip)
    if right is None:
        return
    with behind or st.container():
        below = st.container()
        proof.draw(base, choice, found)
        with below:
            with suppress(progress.Stopped):
                found_strip = _scores(base, choice, strip) or found_strip
            side.more(base, visitor, choice)
        take_model.draw(base, choice)
    if foot is not None and found_strip.edited:
        with foot:
            part = parts.Part(PAGE, "Forgotten, kept, and a random edit", HOW_STRIP, base, choice)
            part.below("strip", _strip_panel(found_strip, choice), label="The four numbers")


def _open(base: Base, side: ModuleType) -> DeltaGenerator:
    """Draw the input and the rest of the edit beside the figures; return the figures' place."""
    with st.container(key="side_by_side"):
        left, right = st.columns([5, 7], gap="large")
    with left:
        side.inputs(base)
        with st.container(key="edit_details"):
            st.markdown("##### Edit details")
            controls.details(base.facts)
    return right


def _docked(base: Base, side: ModuleType) -> None:
    """Draw the input and the rest of the edit behind two buttons, at the foot of a projector's picture."""
    with st.popover(side.INPUT, icon=":material/input:", key="inputs_popover"):
        side.ask(base)
        side.inputs(base)
    with st.popover("Edit details", icon=":material/tune:", key="edit_popover"):
        controls.details(base.facts)


def _strip(base: Base, choice: Choice, place: DeltaGenerator) -> Strip:
    """Draw the four numbers as they come; return what they are made of."""
    asked = base.facts.slow and st.session_state.get("control") is not True
    why = _UNASKED if asked else ""

    def draw(strip: Strip | None) -> None:
        place.html(strip_html(cells(strip, why=why)))

    def measured(step: Step[Any]) -> None:
        draw(step.partial if isinstance(step.partial, Strip) else None)
        if step.long:
            time.sleep(_BREATH)

    found = watch(measure_strip(base, choice, 0 if asked else scoring.CONTROL_SEEDS), measured)
    draw(found)
    return found


def _strip_panel(strip: Strip, choice: Choice) -> parts.Panel:
    """Return the four numbers with the scores that they are made of, and Python for them."""
    names = list(strip.edited)
    table = pd.DataFrame({
        "concept": names, "removed": [name in strip.gone for name in names],
        "base": [strip.base[name] for name in names], "edited": [strip.edited[name] for name in names],
        "inputs": [strip.counts[name] for name in names],
    })  # fmt: skip
    control = Control.of(names, strip.runs)
    if control is not None:
        table["control mean"], table["control low"] = control.mean, control.low
        table["control high"] = control.high
    asked = None if len(names) == strip.concepts else names
    code = scores_code(choice, len(strip.runs), asked)
    found = cells(strip)
    said = "; ".join(f"{cell.title}: {cell.number} ({cell.note})" for cell in found)
    return parts.Panel(strip_html(found), f"{said}.", table, code)


def _table(base: Base, choice: Choice, scores: Mapping[str, float], control: Control | None) -> pd.DataFrame:
    classes = base.facts.classes
    gone = set(choice.gone(classes))
    rows = {
        "concept": list(classes),
        "chosen": [name in choice.concepts for name in classes],
        "removed": [name in gone for name in classes],
        "base": [base.scores[name] for name in classes],
        "edited": [scores[name] for name in classes],
        "inputs": [base.facts.held_out[name] for name in classes],
    }
    table = pd.DataFrame(rows)
    table["difference"] = table["edited"] - table["base"]
    if control is not None:
        table["control mean"], table["control low"], table["control high"] = (
            control.mean,
            control.low,
            control.high,
        )
    return table


def _shown(base: Base, choice: Choice, scores: Mapping[str, float]) -> tuple[str, ...]:
    """Return the concepts that get bars: all, or the chosen ones and those that changed most."""
    classes = base.facts.classes
    if len(classes) <= _MOST_BARS:
        return classes
    moved = sorted(classes, key=lambda n: (n not in choice.concepts, -abs(scores[n] - base.scores[n])))
    return tuple(moved[:_MOST_BARS])


def _scores(base: Base, choice: Choice, strip: DeltaGenerator) -> Strip | None:
    """Draw the score of every concept, and the four numbers again; return what those are made of now."""
    facts = base.facts
    name = "Recall per concept" if base.is_text else "Accuracy per class"
    how = HOW["recall" if base.is_text else "scores"]
    part = parts.part(PAGE, name, how, base, choice)
    status, numbers, place = progress.Bar("scores"), st.empty(), st.empty()

    def scored(step: Step[Any]) -> None:
        status.advance(step.share, text=f"Scoring the edited model on every {base.probe}")
        if step.long:
            time.sleep(_BREATH)

    scores = watch(score_edit(base, choice), scored)
    gone = choice.gone(facts.classes)

    def draw(control: Control | None, *, final: bool) -> None:
        said = say_scores(
            facts.classes, base.scores, scores, gone, control,
            kept=choice.concepts if choice.keeps else (),
            what="concept" if base.is_text else "class", score=base.sample.task.unit,
        )  # fmt: skip
        summary = stats(_summary(base, choice, scores, control))
        numbers.html(summary)
        shown = _shown(base, choice, scores)
        if not choice.changes:
            said = "No edit: base and edited agree."
        if control is not None:
            said += say_test(z_and_p(base, choice, scores, runs), len(runs))
        if len(shown) < len(facts.classes):
            which = "those chosen, then those that changed most" if choice.changes else "the first ones"
            said = f"{len(shown)} of {len(facts.classes)} concepts: {which}. {said}"
        chart = score_figure(
            shown,
            base.scores,
            scores,
            counts=facts.held_out,
            marks=marks_of(choice),
            control=None if control is None else control.only(facts.classes, shown),
            value=f"{'Exact recall' if base.is_text else 'Accuracy'} (%)",
            row="Concept" if base.is_text else "Class",
            unit=base.probe,
        )
        if not final:
            with place.container():
                st.plotly_chart(parts.on_screen(chart), config=parts.CHART, alt=said, key="scores_early")
            return
        part.figure(
            "scores",
            chart,
            words=said,
            numbers=_table(base, choice, scores, control),
            code=scores_code(choice, 0 if control is None else seeds),
            html=summary,
            place=place.container(),
        )

    runs: list[dict[str, float]] = []
    drawn = False

    def controlled(step: Step[list[dict[str, float]]]) -> None:
        nonlocal drawn
        if not drawn:
            draw(None, final=False)
            drawn = True
        status.advance(step.share, text="Scoring the control: random edits of the same size")

    wanted = controls.control_wanted(facts) and choice.changes
    seeds = controls.seeds_wanted(scoring.CONTROL_SEEDS, MANY) if wanted else 0
    try:
        runs = watch(score_controls(base, choice, seeds), controlled) if wanted else []
        status.empty()
    except progress.Stopped:
        runs = []
    draw(Control.of(facts.classes, runs), final=True)
    if not choice.changes or (wanted and not runs):
        return None
    whole = strip_of(base, choice, scores, runs, wanted=seeds)  # the same numbers, now about every concept
    strip.html(strip_html(cells(whole, why="" if wanted else _UNASKED)))
    return whole


def _summary(
    base: Base, choice: Choice, scores: dict[str, float], control: Control | None
) -> list[tuple[str, str, str]]:
    classes = base.facts.classes
    shams = None if control is None else dict(zip(classes, control.mean, strict=True))
    rows = []
    for title, names in groups_of(choice, classes):
        before, after, sham = (mean_of(values, names) for values in (base.scores, scores, shams))
        if before is None or after is None:
            continue
        what = (
            ", ".join(names)
            if len(names) <= 3
            else f"{len(names)} {'concepts' if base.is_text else 'classes'}"
        )
        count = sum(base.facts.held_out[name] for name in names)
        note = f"mean {base.sample.task.unit} of {what}, {count:,} {base.probe}s"
        number = f"{before:.1%} → {after:.1%}" if choice.changes else f"{before:.1%}"
        if sham is not None:
            note += f"; control {sham:.1%}"
        rows.append((title, number, note))
    return rows
