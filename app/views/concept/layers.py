"""Concept, its layers: where its engram answers its own inputs more than those of others."""

from __future__ import annotations

import pandas as pd

from ...choice.choice import Choice
from ...compute import criteria as measures
from ...compute.one_concept import alone
from ...figures.charts.dots import Dots, dots
from ...figures.charts.palette import BASE, CONTROL, EDITED
from ...figures.words.concept import HOW, say_layers
from ...figures.words.layers import say_kinds
from ...page import parts
from ...page.snippets import shams_code, subset_code
from ...server.base import Base
from . import asked
from .against import responses_of

__all__ = ["draw"]


def draw(base: Base, edit: Choice, name: str) -> None:
    """Draw in which layers the engram answers its own inputs more than others'; see `damage.draw`."""
    part = parts.part("concept", "Specificity, layer by layer", HOW["layers"], base, edit)
    if not asked.fully(base):
        asked.waits()
        return
    table = by_layer(responses_of(base, edit, name, key="layers"), name)
    series = [Dots("others’ inputs", table["others"].to_numpy(), BASE)]
    if "gaussian" in table:
        series.append(Dots("random, same size", table["gaussian"].to_numpy(), CONTROL, "diamond"))
    series.append(Dots("own inputs", table["own"].to_numpy(), EDITED))
    part.figure(
        "layers_of",
        dots(table["layer"].tolist(), series, row="Layer", value="‖E X‖ / ‖W X‖", number=".2f"),
        words=say_layers(name, table),
        numbers=table,
        code=_code(base, edit, name, controlled="gaussian" in table),
        names=say_kinds(list(edit.layers)),
    )


def by_layer(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return layer, own, others and, if it was measured, gaussian, from the table of `ec.responses`."""
    own, rest = table[table["probe"] == name], table[table["probe"] != name]
    found = own[["layer", "ratio"]].rename(columns={"ratio": "own"}).reset_index(drop=True)
    found["others"] = rest.groupby("layer", sort=False)["ratio"].mean().reindex(found["layer"]).to_numpy()
    if "ratio_gaussian" in own:
        found["gaussian"] = own["ratio_gaussian"].to_numpy()
    return found


def _code(base: Base, edit: Choice, name: str, *, controlled: bool) -> str:
    seeds = asked.seeds(measures.SHAMS) if controlled else 0
    options = f"concepts=[{name!r}], layers={list(edit.layers)!r}, controls={seeds}"
    lines = [subset_code(alone(base.facts, name).probed, base.facts.classes)]
    if controlled:
        lines.append(shams_code([name], seeds))
        options += ", shams=shams"
    lines += [
        f"seen = ec.responses(some, atlas, {options})",
        f'own, rest = seen[seen["probe"] == {name!r}], seen[seen["probe"] != {name!r}]',
        'table = own[["layer", "ratio"]].rename(columns={"ratio": "own"}).reset_index(drop=True)',
        'table["others"] = rest.groupby("layer", sort=False)["ratio"].mean()[table["layer"]].to_numpy()',
    ]
    if controlled:
        lines.append('table["gaussian"] = own["ratio_gaussian"].to_numpy()')
    return "\n".join(lines)
