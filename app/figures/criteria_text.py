"""The four criteria in words: what each asks, how its figures are read, and what one figure shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["ASKS", "HOW", "NAMES", "points", "say_cell", "say_function", "say_response", "say_shams"]

NAMES = ("Specificity", "Reactivation", "Sufficiency", "Necessity")

ASKS: dict[str, str] = {
    "Specificity": "Does an engram answer the inputs of its own concept, and leave the others alone?",
    "Reactivation": "Does an engram answer its own concept's inputs the way the layer itself does?",
    "Sufficiency": "Is an engram enough? Only it is kept, everything else goes: does its concept still work?",
    "Necessity": "Is an engram needed? Only it is taken out: does its concept fail, and nothing else?",
}

_CELL = (
    "\n\nThe outlined diagonal is where engram and inputs are of one concept. Click a cell, or choose it "
    "with "
    "the two lists below, to see the inputs behind it."
)

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
        "concept."
    ),
    "Sufficiency": (
        "**How to read this.** Column: the only concept that is kept, at strength 1. Row: whose held-out "
        "inputs "
        "are tested. The number is the score in per cent; the column **base** is the model as it is. Perfect "
        "keeps the diagonal at the base's score.\n\n"
        "A model that answers the kept concept to everything scores 100 on the diagonal and proves nothing: "
        "the "
        "hover text of each cell says how often the kept concept is answered, where the task can tell.\n\n"
        "**From nothing**: the chosen layers hold the kept engram alone. **In place**: the other concepts "
        "are "
        "subtracted and what belongs to no concept stays. In deep models keeping from nothing usually fails, "
        "because each layer gets inputs it never saw; it is shown as measured. Keeping in one layer, or in "
        "a few "
        "(choose them under “Edit”), asks each layer for itself." + _CELL
    ),
    "Necessity": (
        "**How to read this.** Column: the concept that is erased, alone. Row: whose held-out inputs are "
        "tested. "
        "The number is the score in per cent; the column **base** is the model as it is. Perfect empties the "
        "diagonal and leaves every other cell at the base's score." + _CELL
    ),
    "shams": (
        "**How to read this.** The **selective effect** is what an edit does to its own concept beyond what "
        "it "
        "does to the others: for necessity the own loss less the mean loss of the others, for sufficiency "
        "the "
        "own score less how often the kept concept is answered to others (or, where the task cannot say "
        "that, less "
        "the others' score). Damage alone gives 0.\n\n"
        "**Diamond**: Gaussian changes as large as the edit in every layer. **Square**: the engram of as "
        "many "
        "recorded inputs, drawn at random. Each is the mean of {seeds} seeds, with a line from least to "
        "greatest. "
        "With {seeds} seeds p = (1 + number of shams at least as strong) / (1 + {seeds}) cannot fall below "
        "{least:.2f}: it is a check, not a test. For a test use 20 seeds or more in Python, as "
        "`ec.necessity` and `ec.sufficiency` do by default."
    ),
    "response shams": (
        "**How to read this.** One row per concept. The dot is the value on the concept's own inputs, grey "
        "the "
        "mean on all others' inputs. **Diamond**: random numbers with the engram's norm, on the own inputs. "
        "**Square**: the engram of as many recorded inputs, drawn at random, on the same inputs. Means of "
        "{seeds} "
        "seeds. In direction and explained share, an engram that stands for its concept has its dot right of "
        "all the others. In size, compare the dot with grey and with the square: random numbers answer "
        "loudly too, whosever inputs they get."
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
    text = f"Kept alone {null}, a concept scores {mine:.1%} (base {mine_base:.1%})"
    if other["says"].notna().any():
        text += f", and is the answer to {other['says'].mean():.1%} of the inputs of others."
    else:
        text += f", the others {rest:.1%}."
    if mine < 0.5 * mine_base:
        text += " Sufficiency does not hold here: one memory alone does not carry the model."
    elif own["selective"].mean() < 0.5 * mine:
        text += " Most of that proves nothing: the kept concept is answered to others' inputs as well."
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
    """Say one cell."""
    return (
        f"“{edited}” {verb}: “{probed}” goes from {before:.1%} to {after:.1%} "
        f"({points(after - before)} points)."
    )
