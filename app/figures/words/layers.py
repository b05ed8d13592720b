"""The page of layers in words: what each part asks, how its figures are read, and what one figure shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from .as_text import Markdown

__all__ = [
    "ASKS",
    "FAINT",
    "FORMS",
    "HOW",
    "KINDS",
    "LOOKS",
    "SHADES",
    "say_directions",
    "say_effect",
    "say_energy",
    "say_exclusivity",
    "say_kinds",
    "say_leak",
    "say_spectrum",
]

FAINT = 1e-3
"""Directions with less μ are no part of a concept."""

LOOKS = ("Size", "Directions", "Leak", "Effect", "Coverage")
SHADES = ("logarithmic", "linear")

ASKS: dict[str, str] = dict(
    zip(
        LOOKS,
        (
            "How large is each concept's engram in each layer?",
            "Which directions of a layer's input are a concept's own, and which does it share?",
            "How cleanly can a layer tell a concept from the rest, by its statistics alone?",
            "What happens if the edit acts in one part of the layers only?",
            "Which layers can hold a memory, and why not the others?",
        ),
        strict=True,
    )
)

KINDS: dict[str, str] = {
    "q": "query, what a token looks for",
    "k": "key, what it is found by",
    "v": "value, what it hands on",
    "o": "output, which puts together what attention gathered",
    "gate": "how far each unit of the MLP opens",
    "up": "what that unit then passes on",
    "down": "what all units together give back",
    "c_attn": "query, key and value in one: what a token looks for, is found by and hands on",
    "c_fc": "into the MLP's units",
    "c_proj": "what attention or the MLP gives back",
}
"""What the linear maps inside a block of a transformer are for, by the words in their names."""

FORMS: dict[str, str] = {
    "primal": "from Σ itself, which has a row and a column for each input of the layer",
    "dual": "from the products of the recorded rows with each other, as there are fewer rows than inputs",
}
"""What the core's two ways to the same eigenvalues start from."""

HOW: dict[str, str] = {
    "energy": (
        "**How to read this.** Each cell is `‖E_c‖ / ‖W‖`, the norm of a concept's engram over that of the "
        "layer's "
        "weights. It may exceed 1: an engram also answers directions that the data hardly use. **A large "
        "engram "
        "need not be where the memory is**: what an edit in that layer does is under “Effect”. Logarithmic "
        "colours reach three powers of ten down; anything smaller is as dark. The rank "
        "(under the "
        "mouse) is an upper bound on how many directions the engram uses."
    ),
    "leak": (
        "**How to read this.** Two errors of an engram, as shares of the layer's response to the concept: "
        "what it "
        "**leaks** onto all other inputs, `‖E_c X_rest‖²`, and what **stays** of the concept after erasing, "
        "`‖(W − E_c) X_c‖²`. Their sum follows from the statistics of the layer's inputs alone, with no "
        "further "
        "run of the model: 0 means the concept's inputs and all others share no direction; near 100 that the "
        "layer cannot tell them apart. It holds for the plain engram at strength 1, and says nothing about "
        "how "
        "errors travel from layer to layer."
    ),
    "spectrum": (
        "**How to read this.** The eigenvalues of the layer's total second moment `Σ`: how strongly all "
        "recorded "
        "inputs together use each direction, on a logarithmic axis. Directions at or below the dashed line, "
        "the "
        "**cut**, count as noise and are left out of the pseudo-inverse; that is what keeps an engram from "
        "exploding. Eigenvalues of exactly 0 cannot be drawn on this axis; they are counted."
    ),
    "exclusivity": (
        "**How to read this.** The exclusivity `μ` of each direction of the concept: 1 means that only this "
        "concept uses it, and erasing removes it fully. At the dashed line, the concept's share of all "
        "recorded inputs, a direction is no more its own than anybody's; well above it, it is the concept's "
        "more than any single other's. Blue directions can be removed without harm; orange and grey ones are "
        "shared, and a strength above 1 eats into them. Selectivity (under “Current edit”) spares them. "
        "Directions below .001 are left out."
    ),
    "by layer": (
        "**How to read this.** Each row is a layer, from left to right the concept's directions from the "
        "most to "
        "the least exclusive; the colour is `μ`. A row that stays bright has many directions that belong to "
        "the "
        "concept. At most 48 directions are drawn; the table has all."
    ),
    "effect": (
        "**How to read this.** Each row edits one part of the layers and leaves all others as they are; the "
        "first "
        "row edits everywhere. The orange dot is the mean score of what is erased, the blue square that of "
        "others; "
        "the dashed lines are the base model. A good place to edit has its dot far left and its square at "
        "the "
        "line. The diamonds are the **control**: a random Gaussian change with the same norm in the same "
        "layers, "
        "mean of the seeds above, with a line from lowest to highest. Choosing the best row by this figure "
        "and then reporting its number flatters the edit; "
        "confirm it on other concepts."
    ),
    "coverage": (
        "**How to read this.** Every layer of the model. A covered layer has a linear map that reads rows "
        "of inputs, "
        "so it has an engram: inputs is the width of such a row (with the bias column), outputs how many it "
        "gives. Every other layer is named with the reason why it has none."
    ),
}


def say_energy(table: pd.DataFrame) -> str:
    """Say where engrams are large; `table` has layer, concept, relative, rank."""
    means = table.groupby("layer", sort=False)["relative"].mean()
    top = table.loc[table["relative"].idxmax()]
    return (
        f"Mean over {table['concept'].nunique()} concepts: largest in {means.idxmax()} (‖E‖/‖W‖ "
        f"{means.max():.2g}), "
        f"smallest in {means.idxmin()} ({means.min():.2g}). Largest single engram: “{top['concept']}” in "
        f"{top['layer']}, {top['relative']:.2g}, rank at most {int(top['rank'])}."
    )


def say_kinds(names: Iterable[str]) -> Markdown:
    """Say what the projections are for that stand in names of layers or are groups of them; "" if none."""
    found = {word for name in names for word in re.split(r"[. ]", name)}
    words = found | {word.removesuffix("_proj") for word in found}
    if not words & {"q", "c_attn"}:  # the others mean something else outside transformers
        return ""
    return (
        "Inside a block: " + "; ".join(f"**{kind}**: {KINDS[kind]}" for kind in KINDS if kind in words) + "."
    )


def say_leak(table: pd.DataFrame) -> str:
    """Say where concepts can be told apart; `table` has layer, concept, leak, residue, error."""
    means = 100 * table.groupby("layer", sort=False)["error"].mean()
    leak, residue = 100 * table["leak"].mean(), 100 * table["residue"].mean()
    return (
        f"Mean over {table['concept'].nunique()} concepts: cleanest in {means.idxmin()} ({means.min():.0f}% "
        f"of the "
        f"response), least clean in {means.idxmax()} ({means.max():.0f}%). Over all layers {leak:.0f}% "
        f"leaks "
        f"onto the rest and {residue:.0f}% of the concept stays."
    )


def _plain(value: float) -> str:
    """Write a number without powers of ten as long as it can be read so."""
    return f"{value:,.0f}" if 100 <= value < 1e7 else f"{value:.2g}"


def say_spectrum(table: pd.DataFrame, threshold: float, form: str, groups: int) -> str:
    """Say how much the cut keeps; `table` has eigenvalue and kept, of one group."""
    kept, zero = int(table["kept"].sum()), int((table["eigenvalue"] <= 0).sum())
    text = (
        f"{kept:,} of {len(table):,} directions are kept and {len(table) - kept:,} removed (of these "
        f"{zero:,} are "
        f"exactly 0). The cut is at {threshold:.2g}; the largest eigenvalue is "
        f"{_plain(float(table['eigenvalue'].max()))}. "
        f"Solved in the {form} form: {FORMS[form]}."
    )
    return text + (f" Group 1 of {groups} is drawn; the table has all." if groups > 1 else "")


def say_exclusivity(mu: np.ndarray, concept: str, layer: str) -> str:
    """Say how far a concept's directions are its own."""
    counts = [
        int((mu >= 0.9).sum()),
        int(((mu >= 0.5) & (mu < 0.9)).sum()),
        int(((mu > FAINT) & (mu < 0.5)).sum()),
    ]
    if not len(mu) or not sum(counts):
        return f"{concept} has no direction in {layer}."
    return (
        f"In {layer}, {concept} has {sum(counts):,} directions above .001: {counts[0]:,} its own (μ at "
        f"least .9), "
        f"{counts[1]:,} mostly its own, {counts[2]:,} shared. The most exclusive has μ = {mu.max():.2f}."
    )


def say_directions(layers: Sequence[str], mu: Sequence[np.ndarray], concept: str) -> str:
    """Say in which layer a concept has most directions of its own."""
    sums, tops = [float(values.sum()) for values in mu], [float(values.max(initial=0.0)) for values in mu]
    most, best = int(np.argmax(sums)), int(np.argmax(tops))
    return (
        f"The most exclusive direction of {concept} is in {layers[best]} (μ = {tops[best]:.2f}). Its shares "
        f"add up "
        f"to most in {layers[most]} ({sums[most]:.1f} directions) and to least in "
        f"{layers[int(np.argmin(sums))]} ({min(sums):.1f})."
    )


def say_effect(names: Sequence[str], mine: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> str:
    """Say what editing in parts does; the first name is all layers."""
    text = (
        f"In all layers the erased score falls from {mine['base'][0]:.1%} to {mine['score'][0]:.1%}, the "
        f"others' "
        f"from {others['base'][0]:.1%} to {others['score'][0]:.1%}."
    )
    if len(names) < 2:
        return text
    selective = (mine["base"] - mine["score"]) - (others["base"] - others["score"])
    best = 1 + int(np.argmax(selective[1:]))
    weak = 1 + int(np.argmin((mine["base"] - mine["score"])[1:]))
    return (
        f"{text} Most selective alone: {names[best]} ({mine['score'][best]:.1%} and "
        f"{others['score'][best]:.1%}). "
        f"Least effect on what is erased: {names[weak]} ({mine['score'][weak]:.1%})."
    )
