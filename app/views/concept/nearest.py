"""Concept, its nearest engrams."""

from __future__ import annotations

import numpy as np

from ...choice.choice import Choice
from ...compute.one_concept import measure_nearest
from ...figures.charts.palette import EDITED
from ...figures.charts.ranking import ranking
from ...figures.words.concept import HOW, say_nearest
from ...page import parts, progress
from ...page.snippets import plain_atlas
from ...server.base import Base

__all__ = ["draw"]

_MOST = 10


def draw(base: Base, edit: Choice, name: str) -> None:
    """Draw the nearest engrams; see `damage.draw`."""
    part = parts.part("concept", "Nearest engrams", HOW["nearest"], base, edit)
    found = progress.run(measure_nearest(base, name))
    row = found.cosines[found.concepts.index(name)]
    order = [i for i in np.argsort(-row, kind="stable") if found.concepts[i] != name]
    names, cosines = [found.concepts[i] for i in order], row[order]
    table = found.table()
    numbers = table[(table["concept"] == name) & (table["other"] != name)]
    numbers = numbers.sort_values("cosine", ascending=False, kind="stable").reset_index(drop=True)
    words = say_nearest(name, names, cosines)
    if len(found.concepts) < len(base.facts.classes):
        words += f" Compared with {len(names)} of {len(base.facts.classes) - 1} others, drawn with seed 0."
    code = (
        f"found = ec.engram_cosines({plain_atlas(edit)}, concepts={list(found.concepts)!r})\n"
        "table = found.table()\n"
        f'table = table[(table["concept"] == {name!r}) & (table["other"] != {name!r})]\n'
        'table = table.sort_values("cosine", ascending=False, kind="stable")'
    )
    if not names:
        part.table("nearest", numbers, words=words, code=code)
        return
    part.figure(
        "nearest",
        ranking(
            names[:_MOST], cosines[:_MOST], value="Cosine of the engrams", row="Concept", number="+.2f",
            colour=EDITED,
        ),
        words=words,
        numbers=numbers,
        code=code,
    )  # fmt: skip
