"""The table of an experiment of the tour, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

__all__ = [
    "agreement",
    "before_after",
    "dial",
    "ends_of",
    "loudness",
    "mean_of",
    "noise_of",
    "of",
    "others_of",
    "subject_of",
]


def of(table: pd.DataFrame, edit: str, measure: str = "score") -> dict[str, float]:
    """Return the values of one edit and measure of an experiment, by what they are of.

    Args:
        table: columns model, edit, measure, of, value.
        edit: which edit.
        measure: which measure.
    """
    rows = table[(table["edit"] == edit) & (table["measure"] == measure)]
    return dict(zip(rows["of"], rows["value"].astype(float), strict=True))


def mean_of(values: Mapping[str, float], names: Iterable[str]) -> float:
    """Return the mean over some names."""
    return float(np.mean([values[name] for name in names]))


def subject_of(table: pd.DataFrame, ending: str) -> str:
    """Return the concept that an edit is about, from the edit's name."""
    return next(edit.removesuffix(ending) for edit in table["edit"] if edit.endswith(ending))


def others_of(values: Mapping[str, float], concept: str) -> list[str]:
    """Return all names but one."""
    return [name for name in values if name != concept]


def ends_of(values: Mapping[str, float], names: Iterable[str]) -> tuple[str, str]:
    """Return the names of the least and of the greatest value."""
    names = list(names)
    return min(names, key=lambda name: values[name]), max(names, key=lambda name: values[name])


def agreement(table: pd.DataFrame) -> tuple[float, float]:
    """Return the cosine of both answers, and how large the engram's is along the layer's."""
    layer, engram = of(table, "W x", "output"), of(table, "E x", "output")
    x, y = np.array([layer[name] for name in layer]), np.array([engram[name] for name in layer])
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y))), float(x @ y / (x @ x))


def loudness(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return how loud each layer's part is, by layer and probed concept."""
    edits = table.loc[table["measure"] == "loudness", "edit"].drop_duplicates()
    return {edit.removeprefix("E in "): of(table, edit, "loudness") for edit in edits}


def before_after(table: pd.DataFrame) -> tuple[str, dict[str, float], dict[str, float], list[str]]:
    """Return the erased concept, the scores before and after, and the other concepts."""
    concept = subject_of(table, " erased")
    before, after = of(table, "base"), of(table, f"{concept} erased")
    return concept, before, after, others_of(after, concept)


def noise_of(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return mean, least and greatest score under random changes, by name."""
    edits = [edit for edit in table["edit"].drop_duplicates() if edit.startswith("random change")]
    return {edit.rpartition(": ")[2]: of(table, edit) for edit in edits}


def dial(table: pd.DataFrame) -> tuple[str, dict[float, float], dict[float, float]]:
    """Return the concept, and by strength its score and that of the others."""
    concept = next(name for name in table["of"] if name != "the others")
    edits = table["edit"].drop_duplicates()
    values = {float(edit.split(" times ")[0]): of(table, edit) for edit in edits}
    return (
        concept,
        {strength: found[concept] for strength, found in values.items()},
        {strength: found["the others"] for strength, found in values.items()},
    )
