"""Criteria, sufficiency and necessity: how the scores change when one engram is kept or taken out."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import streamlit as st

from ...choice.choice import FROM_NOTHING, IN_PLACE, NULLS, Choice
from ...compute import criteria as measures
from ...compute.criteria import Function, Selection
from ...figures.charts.dots import Dots, dots
from ...figures.charts.palette import BASE, CONTROL, EDITED, SUBSET
from ...figures.words.as_text import plain
from ...figures.words.criteria import HOW, KEPT, how_test, say_shams, say_tests
from ...figures.words.options import SHOWN, option_word
from ...page import headings, parts, progress
from ...page.snippets import shams_code, subset_code
from ...page.tables import column_config
from ...server.base import Base
from ..shared import controls
from . import cell
from . import kept_alone as criteria_kept
from .matrix import draw_matrix

__all__ = ["draw"]

PAGE = "criteria"
_TOP = 8  # pairs in the list of the greatest losses


def draw(base: Base, choice: Choice, chosen: Selection, criterion: str) -> None:
    """Draw the matrix of scores, the inputs behind one cell, and the controls.

    Args:
        base: the model.
        choice: the edit.
        chosen: which concepts.
        criterion: "Sufficiency" or "Necessity".
    """
    if criterion == "Sufficiency" and _by_layer():
        criteria_kept.draw(base, choice, chosen)
        return
    null = _null(criterion)
    what = f"{'Recall' if base.is_text else 'Accuracy'} of each {'concept' if base.is_text else 'class'}"
    name = f"{what} after erasing one"
    if criterion == "Sufficiency":
        name = f"{what} with only one isolated, {SHOWN[null]}"
    part = parts.Part(PAGE, name, HOW[criterion], base, choice)
    found: Function = progress.run(
        measures.measure_function(base, choice, criterion.lower(), null, chosen, controls=0)
    )
    edited, probed = cell.choose(choice, chosen)
    code = _code(base, choice, chosen, criterion, null)
    draw_matrix(part, found, chosen, criterion, null, (probed, edited), code)
    row = measures.key_of(choice, edited, criterion.lower(), null)
    with suppress(progress.Stopped):  # the controls are another work
        cell.show(base, row, chosen, edited, probed, page=PAGE)
    _shams(base, choice, chosen, criterion, null)


def _by_layer() -> bool:
    controls.ready("kept_in", KEPT, KEPT[0])
    view = st.segmented_control(
        "Isolated in all chosen layers, or one at a time",
        KEPT, key="kept_in", persist_state="session",
        required=True,
    )  # fmt: skip
    return view == KEPT[1]


def _null(criterion: str) -> str:
    if criterion != "Sufficiency":
        return FROM_NOTHING
    controls.ready("state", NULLS, FROM_NOTHING)
    null = st.segmented_control(
        "Starting point",
        NULLS,
        format_func=option_word,
        key="state",
        persist_state="session",
        required=True,
    )
    return null if null in NULLS else FROM_NOTHING


def _options(choice: Choice, criterion: str, null: str) -> list[str]:
    options = [] if choice.everywhere else [f"layers={list(choice.layers)!r}"]
    if criterion == "Necessity":
        return [*options, f"scaling={choice.scaling!r}"]
    return [*options, f"null={'nothing' if null == FROM_NOTHING else 'in place'!r}"]


def _strengths(choice: Choice, chosen: Selection, criterion: str, null: str) -> dict[str, float]:
    return {name: measures.key_of(choice, name, criterion.lower(), null).strength for name in chosen.edited}


def _code(
    base: Base, choice: Choice, chosen: Selection, criterion: str, null: str, controls: str = "controls=0"
) -> str:
    lines = [subset_code(chosen.probed, base.facts.classes)]
    strengths = _strengths(choice, chosen, criterion, null)
    options = ", ".join([*_options(choice, criterion, null), controls])
    call = f"ec.{criterion.lower()}(some, atlas, concepts={{}}, strength={{}}, {options})"
    if len(set(strengths.values())) == 1:
        made = call.format(repr(list(strengths)), f"{next(iter(strengths.values())):g}")
    else:  # the core's criteria know one strength for all
        lines = ["import pandas as pd", "", *lines, f"strengths = {strengths!r}"]
        each = call.format("[name]", "strength")
        made = f"pd.concat(\n    [{each} for name, strength in strengths.items()]\n)"
    return "\n".join([*lines, f"table = {made}"])


def _shams_code(
    base: Base, choice: Choice, chosen: Selection, criterion: str, null: str, subset: bool, seeds: int
) -> str:
    if subset:
        lines = [
            shams_code(chosen.edited, seeds),
            _code(base, choice, chosen, criterion, null, f"controls={seeds}, shams=shams"),
            'table = table.drop_duplicates("concept")',
        ]
        return "\n".join(lines)
    # Without random subsets, the core's criteria have no control at all; the Gaussian one can be had alone.
    strengths = _strengths(choice, chosen, criterion, null)
    necessity = criterion == "Necessity"
    verb = "erase" if necessity else "keep"
    options = "".join(f", {option}" for option in _options(choice, criterion, null))
    return "\n".join(
        [
            "import pandas as pd",
            "from engram_core.measuring.significance import significance",
            "from engram_core.measuring.scores import selective_effect",
            "",
            subset_code(chosen.probed, base.facts.classes),
            "base, rows = some.task.measure(some.model, some.concepts).score, []",
            f"for name, strength in {strengths!r}.items():",
            f"    view = atlas.apply({verb}={{name: strength}}{options})",
            "    edit = ec.live_edit(view).edit",
            f"    shams = [ec.gaussian_view(atlas, edit, seed) for seed in range({seeds})]",
            "    effect, *random = [",
            "        selective_effect(some.task.measure(m, some.concepts), base, name, "
            f"{'loss' if necessity else 'gain'!r})",
            "        for m in (view, *shams)",
            "    ]",
            "    mean, _, z, p = significance(effect, random)",
            "    rows.append((name, effect, mean, z, p))",
            "kinds = [f'selective_gaussian{tail}' for tail in ('', '_z', '_p')]",
            'names = ["concept", "selective", *kinds]',
            "table = pd.DataFrame(rows, columns=names)",
        ]
    )


def _shams(base: Base, choice: Choice, chosen: Selection, criterion: str, null: str) -> None:
    top = st.container()
    wanted, seeds = controls.control_wanted(base.facts), measures.SHAMS
    if wanted:
        seeds = controls.seeds_wanted(
            seeds, measures.MANY, note="A check; 20 seeds are a test, with z and p."
        )
    how = HOW["controls"].format(seeds=seeds, test=how_test(seeds, len(chosen.edited)))
    with top:
        headings.heading("Effect vs controls", how)
    if not wanted:
        return
    which = criterion.lower()
    steps = measures.measure_function(base, choice, which, null, chosen, controls=seeds)
    found: Function = progress.run(steps, key="controls")
    numbers, gaussian, subset = found.tests, found.effects("gaussian"), found.effects("subset")
    effect = numbers["selective"].tolist()
    series = [_dots_of(gaussian, f"Gaussian, same size ({seeds} seeds)", CONTROL, "diamond")]
    if any(subset):
        series.append(_dots_of(subset, f"random subset ({seeds} seeds)", SUBSET, "square-open"))
    series.append(Dots("this engram", 100 * np.array(effect), EDITED, "circle"))
    parts.Part(PAGE, f"{criterion} vs controls", how, base, choice).figure(
        "shams",
        dots(
            chosen.edited,
            series,
            row="Concept",
            value="Selective effect (points)",
            lines=[("damage alone", 0.0, BASE)],
        ),
        words=say_shams(effect, gaussian, subset) + say_tests(numbers, seeds),
        numbers=numbers,
        code=_shams_code(base, choice, chosen, criterion, null, bool(any(subset)), seeds),
    )
    if seeds > measures.SHAMS:
        with st.expander("z and p of every concept"):
            st.dataframe(numbers, hide_index=True, width="stretch", column_config=column_config(numbers))
    if found.refused:
        st.caption(plain(f"No random subset: {found.refused}"))
    elif null == IN_PLACE:
        st.caption("With the others subtracted there is no random-subset control: they overlap the subset.")


def _dots_of(runs: list[list[float]], title: str, colour: str, symbol: str) -> Dots:
    levels = [
        100 * np.array([stat(run) if run else np.nan for run in runs]) for stat in (np.mean, np.min, np.max)
    ]
    return Dots(title, levels[0], colour, symbol, levels[1], levels[2])
