"""Concept, its four criteria, each against its controls; and the table of its layers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...choice.choice import FROM_NOTHING, Choice
from ...compute import criteria as measures
from ...compute.one_concept import alone
from ...figures.charts.dots import Dots, dots
from ...figures.charts.palette import BASE, CONTROL, EDITED, SUBSET
from ...figures.words.concept import HOW, Against, say_against
from ...figures.words.criteria import how_test
from ...page import parts, progress
from ...page.snippets import shams_code, subset_code
from ...server.base import Base
from . import asked

__all__ = ["draw", "responses_of"]

_RESPONSES = (("Specificity", "ratio"), ("Reactivation", "cosine"))
_KINDS = ("gaussian", "subset")


def responses_of(base: Base, edit: Choice, name: str, *, key: str) -> pd.DataFrame:
    """Measure how the layers answer the concept's and others' inputs, or find what was measured.

    Args:
        base: the model.
        edit: its sharpness and layers count.
        name: the concept.
        key: tells the bars of two blocks apart.

    Returns:
        The table of `ec.responses`.
    """
    seeds = asked.seeds(measures.SHAMS)
    work = measures.measure_responses(base, edit, alone(base.facts, name), edit.layers, seeds)
    return progress.run(work, key=key)


def draw(base: Base, edit: Choice, name: str) -> None:
    """Draw the four criteria against their controls, and the table of layers; see `damage.draw`."""
    seeds = asked.seeds(measures.SHAMS)
    how = HOW["against"].format(seeds=seeds, test=how_test(seeds, 4))
    part = parts.part("concept", "The four criteria, against controls", how, base, edit)
    if not asked.fully(base):
        asked.waits()
        return
    table = responses_of(base, edit, name, key="against")
    found = [_of_responses(table, name, title, measure) for title, measure in _RESPONSES]
    for title in ("Sufficiency", "Necessity"):
        work = measures.measure_function(
            base, edit, title.lower(), FROM_NOTHING, alone(base.facts, name), controls=seeds
        )
        found.append(_of_function(progress.run(work, key=title), title))
    rows = [one.name for one in found]
    series = [
        Dots("others’ inputs", np.array([one.others for one in found]), BASE),
        _shams([one.gaussian for one in found], "random, same size", CONTROL, "diamond"),
        _shams([one.subset for one in found], "random inputs’ engram", SUBSET, "square-open"),
        Dots("this concept", np.array([one.value for one in found]), EDITED),
    ]
    part.figure(
        "against",
        dots(rows, series, row="", value="0 to 1, see “How to read this”", number=".2f"),
        words=say_against(found, seeds),
        numbers=_table(found),
        code=_code(base, edit, name, seeds),
    )


def _of_responses(table: pd.DataFrame, name: str, title: str, measure: str) -> Against:
    own = table["probe"] == name
    shams = {
        kind: [float(table.loc[own, f"{measure}_{kind}"].mean())] if f"{measure}_{kind}" in table else []
        for kind in _KINDS
    }
    others = table.loc[~own, measure]
    return Against(
        title, float(table.loc[own, measure].mean()), float(others.mean()) if len(others) else np.nan,
        shams["gaussian"], shams["subset"], {},
    )  # fmt: skip


def _of_function(found: measures.Function, title: str) -> Against:
    tests = found.tests.iloc[0]
    runs = {kind: found.effects(kind)[0] for kind in _KINDS}
    p = {kind: float(tests[f"selective_{kind}_p"]) for kind in _KINDS if f"selective_{kind}_p" in tests}
    return Against(title, float(tests["selective"]), np.nan, runs["gaussian"], runs["subset"], p)


def _shams(runs: list, title: str, colour: str, symbol: str) -> Dots:
    mean, low, high = (
        np.array([stat(run) if len(run) else np.nan for run in runs]) for stat in (np.mean, np.min, np.max)
    )
    return Dots(title, mean, colour, symbol, low, high)


def _table(found: list[Against]) -> pd.DataFrame:
    rows = [
        {
            "criterion": one.name, "value": one.value, "others": one.others,
            **{kind: float(np.mean(runs)) if len(runs) else np.nan
               for kind, runs in zip(_KINDS, (one.gaussian, one.subset), strict=True)},
            **{f"{kind}_p": one.p.get(kind, np.nan) for kind in _KINDS},
        }
        for one in found
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _code(base: Base, edit: Choice, name: str, seeds: int) -> str:
    chosen = alone(base.facts, name)
    layers = "" if edit.everywhere else f", layers={list(edit.layers)!r}"
    options = f"concepts=[{name!r}]{layers}, controls={seeds}, shams=shams"
    strength = edit.strengths[name]
    return "\n".join([
        "import pandas as pd",
        "",
        subset_code(chosen.probed, base.facts.classes),
        shams_code([name], seeds),
        f"seen = ec.responses(some, atlas, {options})",
        f'own, rest = seen[seen["probe"] == {name!r}], seen[seen["probe"] != {name!r}]',
        "rows = []",
        'for title, measure in (("Specificity", "ratio"), ("Reactivation", "cosine")):',
        '    rows.append((title, own[measure].mean(), rest[measure].mean(),',
        '                 own[f"{measure}_gaussian"].mean(), own[f"{measure}_subset"].mean()))',
        f"kept = ec.sufficiency(some, atlas, {options})",
        f"erased = ec.necessity(some, atlas, {options}, strength={strength:g}, scaling={edit.scaling!r})",
        'for title, table in (("Sufficiency", kept), ("Necessity", erased)):',
        "    one = table.iloc[0]",
        '    rows.append((title, one["selective"], float("nan"),',
        '                 one["selective_gaussian"], one["selective_subset"]))',
        'table = pd.DataFrame(rows, columns=["criterion", "value", "others", "gaussian", "subset"])',
    ])  # fmt: skip
