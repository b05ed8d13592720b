"""The four criteria in words: what each asks, how its figures are read, and what one figure shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .as_text import Markdown
from .options import SHOWN

__all__ = [
    "ASKS",
    "HELP",
    "HOW",
    "KEPT",
    "NAMES",
    "how_test",
    "points",
    "say_cell",
    "say_function",
    "say_kept",
    "say_response",
    "say_shams",
    "say_tests",
]

NAMES = ("Specificity", "Reactivation", "Sufficiency", "Necessity")

KEPT = ("concept by concept", "layer by layer")
"""The two views of sufficiency; they stand in the address."""

ASKS: dict[str, str] = {
    "Specificity": "Does an engram answer the inputs of its own concept, and leave the others alone?",
    "Reactivation": "Does an engram answer its own concept's inputs the way the layer itself does?",
    "Sufficiency": "Is an engram enough? Its concept is isolated: does it still work without the rest?",
    "Necessity": "Is an engram needed? It alone is erased: does its concept fail, and nothing else?",
}

_CELL = (
    "\n\nThe outlined diagonal is where engram and inputs are of one concept. Click a cell, or choose it "
    "with "
    "the two lists below, to see its inputs."
)

HELP: dict[str, str] = {
    "find": "It becomes the selected concept: its row and column are outlined here, and it is highlighted "
    "on every page.",
    "sort": "The same for rows and columns, so that the diagonal stays. By damage: who loses most when "
    "others are erased comes first. By cluster: concepts with like rows stand together.",
    "cells": "The number in a cell is the score either way. The change is the score less that of the base "
    "model; its colours go by the square root, so that small losses can be seen.",
    "hit": "Hides the rows that lose less than 1 point to every other concept.",
}

HOW: dict[str, str] = {
    "Specificity": (
        "**How to read this.** Column: whose engram `E_c`. Row: whose held-out inputs `X_k`. The colour is "
        "`‖E_c X_k‖ / ‖W X_k‖`: how large the engram's answer is against the layer's own, which is 1. "
        "Perfect is "
        "1 on the diagonal and 0 elsewhere. The engram is taken at strength 1." + _CELL
    ),
    "Reactivation": (
        "**How to read this.** Column: whose engram `E_c`. Row: whose held-out inputs `X_k`. The colour is "
        "the "
        "cosine between the engram's answer `E_c X_k` and the layer's own `W X_k`: 1 is the same direction. "
        "It "
        "says nothing about size: the next figure does. Below 0 is drawn as 0." + _CELL
    ),
    "explained": (
        "**How to read this.** The share of the layer's response that the engram explains, "
        "`1 − ‖(W − E_c) X_k‖² / ‖W X_k‖²`. 1 means the engram alone gives the layer's answer; 0 that it "
        "explains "
        "nothing; below 0 (drawn as 0, the true number is under the mouse) that it disturbs." + _CELL
    ),
    "by layer": (
        "**How to read this.** Each cell is one concept in one layer, on the concept's own held-out inputs: "
        "the "
        "diagonal of the figure above, layer by layer, in forward order. Dark layers hold little of the "
        "concept. Click a cell to see that layer's figures, and the concept's own inputs."
    ),
    "Sufficiency": (
        "**How to read this.** Column: the only concept that is isolated, at strength 1. Row: whose held-out "
        "inputs are tested. The number is the score in per cent; the column **base** is the model as it is. "
        "Perfect keeps the diagonal at the base's score.\n\n"
        "A model that answers the isolated concept to everything scores 100 on the diagonal and proves "
        "nothing: the row **said to others**, on top, is how often the isolated concept is the answer to "
        "inputs of the others, where the task can tell. A high diagonal below a high number there is worth "
        "nothing.\n\n"
        "**From zero weights**: the chosen layers hold the isolated engram and nothing else. **Subtract the "
        "others**: the other concepts are subtracted and what belongs to no concept stays. In deep models "
        "isolating from zero weights usually fails, because each layer gets inputs it never saw; it is shown "
        "as measured. Isolating in one layer, or in a few (choose them under “Current edit”), asks each "
        "layer for itself: “layer by layer” above asks all." + _CELL
    ),
    "kept by layer": (
        "**How to read this.** Each row isolates concepts in **one** part of the layers, at strength 1, and "
        "leaves every other layer as it is; the first row isolates them in all layers. **Isolated** is the "
        "score of the concept that is isolated, **others** the mean score of all the others; both are means "
        "over {sets} concepts, each isolated.\n\n"
        "A high *isolated* means something only where *others* is low. Where both are high, the layer is "
        "hardly needed: whatever is isolated there, everything is still known. Where both are low, this part "
        "alone is not enough for what follows. In a deep model isolating **from zero weights** in all layers "
        "fails, because each layer gets inputs it never saw; in single layers sufficiency can hold in part. "
        "**Subtract the others** (open squares), the other concepts are subtracted and what belongs to no "
        "concept stays; where the concepts are all the data, both are the same.\n\n"
        "The dashed line is the base model's score of the isolated concepts."
    ),
    "asked": "With a model of this size it takes minutes, so it is not measured unasked.",
    "top": (
        "**How to read this.** The greatest losses among the concepts that were measured: the concept on the "
        "left lost so many points when the one behind the arrow was erased, alone. Its own erasing does not "
        "count. The matrix below has every pair."
    ),
    "Necessity": (
        "**How to read this.** Column: the concept that is erased, alone. Row: whose held-out inputs are "
        "tested. "
        "The number is the score in per cent; the column **base** is the model as it is. Perfect empties the "
        "diagonal and leaves every other cell at the base's score." + _CELL
    ),
    "controls": (
        "**How to read this.** The **selective effect** is what an edit does to its own concept beyond what "
        "it "
        "does to the others: for necessity the own loss less the mean loss of the others, for sufficiency "
        "the "
        "own score less how often the isolated concept is answered to others (or, where the task cannot say "
        "that, less "
        "the others' score). Damage alone gives 0.\n\n"
        "**Diamond**: Gaussian changes as large as the edit in every layer. **Square**: the engram of as "
        "many "
        "recorded inputs, drawn at random. Each is the mean of {seeds} seeds, with a line from least to "
        "greatest.\n\n{test}"
    ),
    "response controls": (
        "**How to read this.** One row per concept. The dot is the value on the concept's own inputs, grey "
        "the "
        "mean on all others' inputs. **Diamond**: random numbers with the engram's norm, on the own inputs. "
        "**Square**: the engram of as many recorded inputs, drawn at random, on the same inputs. Means of "
        "{seeds} "
        "seeds. In direction and explained share, an engram that stands for its concept has its dot right of "
        "all the others. In size, compare the dot with grey and with the square: random numbers answer "
        "loudly too, whatever their inputs.\n\n{test} Over several layers the table counts the layers "
        "with p ≤ .05 and gives no z: layers are no repetitions of each other."
    ),
    "behind": (
        "**How to read this.** The held-out inputs of the row's concept, with the answers of the base and "
        "of the "
        "model edited as the column says. Those whose answer changed come first. For questions, base and "
        "edited "
        "tell whether the answer is exact, nats how unlikely the true answer is (per token, lower is "
        "surer), and "
        "the last column what the edited model writes by itself (asked of the first questions only)."
    ),
}


def how_test(seeds: int, tested: int) -> Markdown:
    """Say how z and p are to be read.

    Args:
        seeds: shams of each kind.
        tested: effects that are held against theirs.

    Returns:
        A sentence for below the figure.
    """
    least = 1 / (1 + seeds)
    text = (
        "**z** is how many standard deviations of the controls the effect lies above their mean (infinite "
        "where all controls are alike). **p** = (1 + number of controls at least as strong) / (1 + "
        f"{seeds}): with {seeds} seeds its minimum is {least:.3f}, which means that no control did as much. "
    )
    if least > 0.05:
        return text + "That is a check and no test: for a test choose 20 seeds."
    return text + (
        f"Of {tested} effects, {0.05 * tested:.1f} would fall to .05 by chance alone; read z as a distance, "
        "since controls need not be normally spread. Which controls count is this program's own choice: "
        "changes of the same size, and engrams of as many other inputs."
    )


def say_tests(table: pd.DataFrame, seeds: int) -> str:
    """Say how many effects stand against each kind of sham; `table` has selective_KIND_z and _p."""
    if 1 / (1 + seeds) > 0.05:
        return ""
    said = []
    for kind, title in (("gaussian", "Gaussian changes"), ("subset", "random subsets")):
        if f"selective_{kind}_p" not in table:
            continue
        p, z = table[f"selective_{kind}_p"].dropna(), table[f"selective_{kind}_z"].dropna()
        if len(p):
            said.append(
                f"p ≤ .05 against {title} for {int((p <= 0.05).sum())} of {len(p)} concepts (largest p "
                f"{p.max():.3f}, median z {z.median():.1f})"
            )
    return f" With {seeds} seeds: {'; '.join(said)}." if said else ""


def points(value: float) -> str:
    """Write a share as signed points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def say_response(table: pd.DataFrame, what: str, where: str) -> str:
    """Say a matrix of responses in a sentence; `table` has concept, probe, value."""
    own = table[table["concept"] == table["probe"]]["value"]
    other = table[table["concept"] != table["probe"]]
    worst = other.loc[other["value"].idxmax()] if len(other) else None
    text = f"{what}, {where}: {own.mean():.2f} on a concept's own inputs (mean of {len(own)}), "
    text += f"{other['value'].mean():.2f} on those of others."
    if worst is not None:
        pair = f"engram of “{worst['concept']}” on “{worst['probe']}”"
        text += f" Greatest elsewhere: {worst['value']:.2f}, {pair}."
    return text.replace("-", "−")


def say_function(table: pd.DataFrame, criterion: str, null: str) -> str:
    """Say a matrix of scores in a sentence; `table` has concept, probe, score, base, says, selective."""
    own, other = table[table["concept"] == table["probe"]], table[table["concept"] != table["probe"]]
    mine, mine_base = own["score"].mean(), own["base"].mean()
    rest, rest_base = other["score"].mean(), other["base"].mean()
    if criterion == "Necessity":
        text = (
            f"Erased, a concept scores {mine:.1%} (base {mine_base:.1%}); the others {rest:.1%} "
            f"(base {rest_base:.1%})."
        )
        if len(other):
            worst = other.loc[other["delta"].idxmin()]
            if worst["delta"] < 0:
                text += (
                    f" Largest loss elsewhere: “{worst['probe']}” by {points(worst['delta'])} points, with "
                    f"“{worst['concept']}” erased."
                )
        return text
    text = f"Isolated ({SHOWN[null]}), a concept scores {mine:.1%} (base {mine_base:.1%})"
    if other["says"].notna().any():
        text += f", and is the answer to {other['says'].mean():.1%} of the inputs of others."
    else:
        text += f", the others {rest:.1%}."
    if mine < 0.5 * mine_base:
        text += " Sufficiency does not hold here: one memory alone does not carry the model."
    elif own["selective"].mean() < 0.5 * mine:
        text += " Most of that proves nothing: the isolated concept is answered to others' inputs as well."
    return text


def say_shams(
    effect: Sequence[float], gaussian: Sequence[Sequence[float]], subset: Sequence[Sequence[float]]
) -> str:
    """Say the selective effects against their controls."""
    text = f"Selective effect, mean over {len(effect)} concepts: {points(float(np.mean(effect)))} points"
    for title, runs in (("Gaussian changes of the same size", gaussian), ("random subsets", subset)):
        if runs and any(runs):
            text += f"; {title} {points(float(np.mean([np.mean(run) for run in runs if run])))}"
    beaten = [
        value > max([*g, *s])
        for value, g, s in zip(effect, gaussian, subset or [[]] * len(effect), strict=True)
        if [*g, *s]
    ]
    if beaten:
        text += f". {sum(beaten)} of {len(beaten)} concepts stand above every one of their controls"
    return text + "."


def say_cell(edited: str, probed: str, verb: str, before: float, after: float) -> str:
    """Say one cell of the criteria's matrices."""
    return (
        f"“{edited}” {verb}: “{probed}” goes from {before:.1%} to {after:.1%} "
        f"({points(after - before)} points)."
    )


def say_kept(table: pd.DataFrame, everywhere: str) -> str:
    """Say where keeping concepts alone suffices; `table` is that of `ec.sufficiency_by_layer` for one size.

    Args:
        table: layer, null, kept, others, selective, base.
        everywhere: what stands for all layers together in the column "layer".

    Returns:
        A sentence for below the figure.
    """
    said = []
    for null, rows in table.groupby("null", sort=False):
        name = "From zero weights" if null == "nothing" else "Others subtracted"
        whole, single = rows[rows["layer"] == everywhere], rows[rows["layer"] != everywhere]
        text = name
        if len(whole):
            one = whole.iloc[0]
            text += f", in all layers: isolated {one['kept']:.1%}, others {one['others']:.1%}"
        if len(single):
            best = single.loc[single["selective"].idxmax()]
            text += (
                f"{';' if len(whole) else ','} in one layer, isolated exceeds others most in {best['layer']} "
                f"({best['kept']:.1%} against {best['others']:.1%})"
            )
        said.append(f"{text}.")
    return f"{' '.join(said)} Base {table['base'].mean():.1%}."
