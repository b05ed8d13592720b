"""What the stages of the worked example show: sentences and matrices, from their numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .as_text import Markdown, filled

__all__ = ["STAGES", "say_matrix", "say_stage"]

STAGES = ("Rows", "Second moment Σ_c", "Filter P_A", "Engram E_A")
"""In the order of the slider."""


def say_matrix(values: np.ndarray) -> Markdown:
    """Return a matrix as a formula."""
    lines = [" & ".join(f"{value:.2f}" for value in line) for line in values]
    return Markdown(r"\begin{pmatrix}" + r" \\ ".join(lines) + r"\end{pmatrix}")


def say_stage(
    stage: str,
    rows: Mapping[str, np.ndarray],
    moments: Mapping[str, np.ndarray],
    weights: np.ndarray,
    filter: np.ndarray,
    engram: np.ndarray,
) -> Markdown:
    """Return a sentence on what a stage shows.

    Args:
        stage: one of `STAGES`.
        rows: rows of each concept.
        moments: Σ of each concept.
        weights: of the layer.
        filter: P_A.
        engram: E_A.
    """
    if stage == STAGES[0]:
        counts = " and ".join(f"{len(values)} rows of {name}" for name, values in rows.items())
        return filled("There are {}.", counts)
    if stage == STAGES[1]:
        said = []
        for name, moment in moments.items():
            values, vectors = np.linalg.eigh(moment)
            main = vectors[:, -1] * np.sign(vectors[:, -1].sum())
            said.append(
                filled("{}: {} along ({}, {})", name, f"{values[-1] / values.sum():.0%}",
                       f"{main[0]:.2f}", f"{main[1]:.2f}")
            )  # fmt: skip
        return (
            "Where the rows of each concept point, as a share of their squared length. "
            + "; ".join(said)
            + "."
        )
    if stage == STAGES[2]:
        left = {name: np.linalg.norm(v @ filter.T) / np.linalg.norm(v) for name, v in rows.items()}
        return filled(
            "The filter leaves {} of the length of A's rows and {} of B's.",
            f"{left['A']:.1%}",
            f"{left['B']:.1%}",
        )
    size = {name: np.linalg.norm(v @ engram.T) / np.linalg.norm(v @ weights.T) for name, v in rows.items()}
    return filled(
        "The engram's answers are {} as large as the layer's for A's rows and {} for B's.",
        f"{size['A']:.1%}", f"{size['B']:.1%}",
    )  # fmt: skip
