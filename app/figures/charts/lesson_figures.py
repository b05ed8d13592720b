"""The figure of every step of the tour, from the table of its experiment; veiled without the asked part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import pandas as pd
import plotly.graph_objects as go

from ..words.experiment_table import dial, loudness, noise_of, of, subject_of
from .lesson_bars import BASE, CONTROL, EDITED, LOSS, SUBSET, Series, lesson_bars
from .lesson_curve import lesson_curve

__all__ = ["LESSON_FIGURES"]

Table: TypeAlias = pd.DataFrame

_ACCURACY = "Accuracy on held-out pictures (%)"


def _percent(values: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * value for name, value in values.items()}


def _reactivation(given: Table, asked: Table | None) -> go.Figure:
    layer = of(given, "W x", "output")
    engram = of(asked, "E x", "output") if asked is not None else {}
    reach = 1.1 * max(map(abs, layer.values()))
    return lesson_bars(
        list(layer), [Series("Layer: W x", BASE, layer)],
        None if asked is None else [Series("Engram of 7: E x", EDITED, engram)],
        title="Number for each digit", reach=(-reach, reach), number=".2f",
    )  # fmt: skip


def _specificity(given: Table, asked: Table | None) -> go.Figure:
    rows = [str(digit) for digit in range(10)]
    found = None
    if asked is not None:
        layers = loudness(asked)
        rows = list(next(iter(layers.values())))
        colours = (LOSS, SUBSET, EDITED)
        found = [
            Series(f"Layer {layer}", colour, _percent(values))
            for (layer, values), colour in zip(layers.items(), colours, strict=False)
        ]
    return lesson_bars(
        rows, [], found, title="Loudness of the engram of 7, ‖E X‖ / ‖W X‖ (%)", bars=3, marked="7",
    )  # fmt: skip


def _erased(given: Table, asked: Table | None) -> go.Figure:
    base = of(given, "base")
    concept = "" if asked is None else subject_of(asked, " erased")
    found = None
    if asked is not None:
        found = [Series(f"{concept} erased", EDITED, _percent(of(asked, f"{concept} erased")))]
    return lesson_bars(
        list(base), [Series("Base", BASE, _percent(base))], found, title=_ACCURACY, marked=concept
    )


def _control(given: Table, asked: Table | None) -> go.Figure:
    base, concept = of(given, "base"), subject_of(given, " erased")
    known = [
        Series("Base", BASE, _percent(base)),
        Series(f"{concept} erased", EDITED, _percent(of(given, f"{concept} erased"))),
    ]
    found = None
    if asked is not None:
        noise = {name: _percent(values) for name, values in noise_of(asked).items()}
        found = [
            Series("Random change, mean and range", CONTROL, noise["mean"], noise["least"], noise["most"])
        ]
    return lesson_bars(list(base), known, found, title=_ACCURACY, marked=concept)


def _sufficiency(given: Table, asked: Table | None) -> go.Figure:
    base = of(given, "base", "share called 7")
    found = None
    if asked is not None:
        found = [Series("7 alone", EDITED, _percent(of(asked, "7 alone", "share called 7")))]
    return lesson_bars(
        list(base), [Series("Base", BASE, _percent(base))], found,
        title="Pictures of each digit that are called 7 (%)", marked="7",
    )  # fmt: skip


def _strength(given: Table, asked: Table | None) -> go.Figure:
    def curves(table: Table) -> dict[str, dict[float, float]]:
        concept, own, others = dial(table)
        return {
            f"{concept}": {x: 100 * y for x, y in own.items()},
            "the others, mean": {x: 100 * y for x, y in others.items()},
        }

    return lesson_curve(
        curves(given), None if asked is None else curves(asked),
        across="Strength α", up="Accuracy (%)", furthest=2.0,
    )  # fmt: skip


def _language(given: Table, asked: Table | None) -> go.Figure:
    base = of(given, "base")
    concept = next(iter(base))
    found = None
    if asked is not None:
        found = [
            Series("Erased", EDITED, _grouped(of(asked, f"{concept} erased"), concept)),
            Series("Isolated", LOSS, _grouped(of(asked, f"{concept} alone"), concept)),
        ]
    rows = _grouped(base, concept)
    return lesson_bars(
        list(rows), [Series("Base", BASE, rows)], found, title="Facts that are answered word for word (%)",
        bars=3, marked=concept,
    )  # fmt: skip


def _grouped(values: Mapping[str, float], concept: str) -> dict[str, float]:
    others = [100 * value for name, value in values.items() if name != concept]
    return {
        concept: 100 * values[concept],
        "other authors, mean": sum(others) / len(others),
        "other authors, lowest": min(others),
    }


def _limits(given: Table, asked: Table | None) -> go.Figure:
    measure = "found by a reader"
    base = _percent(of(given, "base", measure))
    names = {"7": "sevens", "the others": "other digits"}

    def named(values: Mapping[str, float]) -> dict[str, float]:
        return {names[name]: value for name, value in values.items()}

    found = None
    if asked is not None:
        found = [Series("7 erased", EDITED, named(_percent(of(asked, "7 erased", measure))))]
    return lesson_bars(
        list(names.values()), [Series("Base", BASE, named(base))], found,
        title="Held-out pictures that the reader takes for a seven (%)", marked="sevens",
    )  # fmt: skip


LESSON_FIGURES: Mapping[str, Callable[[Table, Table | None], go.Figure]] = {
    "reactivation": _reactivation,
    "specificity": _specificity,
    "necessity": _erased,
    "control": _control,
    "sufficiency": _sufficiency,
    "strength": _strength,
    "neighbours": _erased,
    "language": _language,
    "limits": _limits,
}
"""By experiment; the first step's is in `toy`."""
