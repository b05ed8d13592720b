"""Criteria, sufficiency and necessity: who suffers most, and the matrix of scores and changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...compute.criteria import Function, Selection
from ...figures.charts.colour_scale import Scale, cell_texts
from ...figures.charts.heatmap import grid, heatmap
from ...figures.charts.labels import label
from ...figures.charts.ranking import ranking
from ...figures.words.criteria import HOW, points, say_function
from ...figures.words.damage import SAID_ELSEWHERE, say_hidden, say_top, worst_pairs
from ...page import headings, parts
from ...server.base import Base
from . import cell
from .arrange import Arrangement, arrange

__all__ = ["draw_matrix"]

_TOP = 8  # pairs in the list of the greatest losses


def draw_matrix(
    part: parts.Part, found: Function, chosen: Selection, criterion: str, null: str,
    selected: tuple[str, str], code: str,
) -> None:  # fmt: skip
    """Draw the list of the greatest losses of a large model, and the matrix.

    Args:
        part: what the matrix is called.
        found: what was measured.
        chosen: which concepts.
        criterion: "Sufficiency" or "Necessity".
        null: what keeping starts from.
        selected: row and column of the cell that is open below.
        code: Python that gives the numbers as `table`.
    """
    table, before = found.table, found.scores.base.score
    if criterion == "Necessity" and not chosen.every:
        _top(part, table, code)
    headings.heading(part.text, part.how)
    shown = _arranged(part.base, chosen, table, criterion)
    _matrix(part, table, before, shown, criterion, null, selected, code)


def _arranged(base: Base, chosen: Selection, table: pd.DataFrame, criterion: str) -> Arrangement:
    """Draw the switches above the matrix; return what they ask for."""
    names = chosen.probed
    delta = 100 * grid(table, "delta", names, chosen.edited)
    own = np.array([[name == other for other in chosen.edited] for name in names])
    # A probe that only itself was edited beside has no others: NaN, which stands last.
    elsewhere = [line[~mine & np.isfinite(line)] for line, mine in zip(delta, own, strict=True)]
    worst = {n: float(-line.min(initial=0.0)) for n, line in zip(names, elsewhere, strict=True)}
    if criterion == "Necessity":
        damage = {
            n: float(-line.mean()) if len(line) else np.nan for n, line in zip(names, elsewhere, strict=True)
        }
        damaged = "by damage suffered"
    else:
        says = 100 * grid(table, "says", names, chosen.edited)
        damage = dict.fromkeys(names, np.nan) | dict(
            zip(chosen.edited, _elsewhere(says, names, chosen.edited), strict=True)
        )
        damaged = "by how often it is said to others"
    rows = dict(zip(names, delta.tolist(), strict=True))
    return arrange(
        chosen, base.facts.classes, rows, damage, damaged=damaged,
        worst=worst if criterion == "Necessity" else None, coloured=True,
    )  # fmt: skip


def _elsewhere(says: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """Return, of each column, the mean over the inputs of the others; NaN where the task cannot say."""
    others = np.array([[row != column for column in columns] for row in rows])
    return np.array([
        line[mask & np.isfinite(line)].mean() if (mask & np.isfinite(line)).any() else np.nan
        for line, mask in zip(says.T, others.T, strict=True)
    ])  # fmt: skip


def _top(part: parts.Part, table: pd.DataFrame, code: str) -> None:
    """Draw who suffers most, before the matrix of a large model."""
    pairs = worst_pairs(table, _TOP)
    headings.heading("Who suffers most", HOW["top"])
    part.figure(
        "top",
        ranking(
            pairs["probe"].tolist(), 100 * pairs["delta"].to_numpy(), value="Change of the score (points)",
            row="Tested concept",
            shown=[f"{label(p)} ← {label(e)}" for p, e in zip(pairs["probe"], pairs["concept"], strict=True)],
            hover=[
                f"{100 * b:.0f} → {100 * s:.0f} %"
                for b, s in zip(pairs["base"], pairs["score"], strict=True)
            ],
        ),
        words=say_top(table, pairs),
        numbers=pairs,
        code=f'{code}\nothers = table[table["concept"] != table["probe"]]\n'
        f'table = others.sort_values("delta", kind="stable").head({_TOP})',
    )  # fmt: skip


def _matrix(
    part: parts.Part, table: pd.DataFrame, before: Mapping[str, float], shown: Arrangement, criterion: str,
    null: str, selected: tuple[str, str], code: str,
) -> None:  # fmt: skip
    base, necessity = part.base, criterion == "Necessity"
    rows, columns = shown.rows, shown.columns
    scores, delta, says = (100 * grid(table, column, rows, columns) for column in ("score", "delta", "says"))
    written = cell_texts(scores, Scale("", number=".0f"))
    hover = [
        [
            f"base {100 * before[probe]:.1f} → {scores[i, j]:.1f} ({points(delta[i, j] / 100)} points)"
            + (f"<br>answered with the {'erased' if necessity else 'isolated'} concept: {says[i, j]:.1f} %"
               if np.isfinite(says[i, j]) else "")
            for j in range(len(columns))
        ]
        for i, probe in enumerate(rows)
    ]  # fmt: skip
    above = None
    if not necessity and np.isfinite(says).any():
        every = tuple(dict.fromkeys(table["probe"]))
        elsewhere = _elsewhere(100 * grid(table, "says", every, columns), every, columns)
        above = (SAID_ELSEWHERE, elsewhere)
    scale = Scale(_score(base), 0.0, 100.0, number=".0f")
    if shown.changes:
        scale = Scale("Change (points)", high=100.0, signed=True, root=True, number="+.1f")
    figure = heatmap(
        delta if shown.changes else scores,
        rows,
        columns,
        row="Tested concept",
        column="Erased concept" if necessity else "Isolated concept",
        scale=scale,
        before=("base", 100 * np.array([before[probe] for probe in rows])),
        above=above,
        written=written,
        hover=hover,
        selected=selected,
    )
    part.figure(
        "matrix",
        figure,
        words=say_function(table, criterion, null) + say_hidden(shown.hidden, len(rows)),
        numbers=table,
        code=code,
        **cell.clickable(f"matrix_{criterion}_{null}"),
    )


def _score(base: Base) -> str:
    return "Exact recall (%)" if base.is_text else "Accuracy (%)"
