"""One concept in words: what each block of its page shows, said from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .criteria import points

__all__ = [
    "HELP", "HOW", "Against", "about", "say_against", "say_curve", "say_damage", "say_flips", "say_layers",
    "say_nearest",
]  # fmt: skip

_FAINT = 0.05  # of a criterion that reaches 1

HELP: dict[str, str] = {
    "everything": "The controls, the four criteria, the layers and the strength curve. On a model of this "
    "size they take minutes, so they are not measured unasked; each can be stopped and gone on with.",
}

HOW: dict[str, str] = {
    "damage": (
        "**How to read this.** The concept is erased, alone, at the strength under “Current edit”. Each bar "
        "is the change of another concept's score against the base model, in points; those that lose most "
        "come first, then those that are spared best. **Diamond**: a random Gaussian change with the same "
        "norm in every layer, mean of {seeds} seeds with a line from lowest to highest. A bar that reaches "
        "no further than its diamond is what any change of that size does."
    ),
    "nearest": (
        "**How to read this.** Each bar is the cosine between this concept's engram and another one, over "
        "all layers together: 1 the same direction in weight space, 0 nothing in common. Erasing a concept "
        "is likely to reach those that are near."
    ),
    "against": (
        "**How to read this.** One row per criterion, from 0 to 1. **Specificity**: ‖E X‖ / ‖W X‖, how large "
        "the engram's answer is against the layer's own. **Reactivation**: the cosine of the two. Both are "
        "means over the layers; the dot is the value on the concept's own held-out inputs, grey that on the "
        "inputs of others. **Sufficiency** and **necessity**: the selective effect, which is what isolating "
        "the concept, or erasing it, does to its own score beyond what it does to the others.\n\n"
        "**Diamond**: random numbers of the same norm. **Square**: the engram of as many recorded inputs, "
        "drawn at random. Means of {seeds} seeds, with a line from least to greatest where each seed was "
        "kept. The effect stands if its dot lies right of both. In specificity, hold it against grey and "
        "the square alone: random numbers answer loudly, whatever they are given.\n\n{test}"
    ),
    "layers": (
        "**How to read this.** Specificity, layer by layer in forward order: ‖E X‖ / ‖W X‖ on the concept's "
        "own held-out inputs, and the mean on those of others. The layers where the two lie far apart tell "
        "the concept from the rest."
    ),
    "flips": (
        "**How to read this.** Held-out inputs that base and edited model answer differently. **Lost**: "
        "right before and wrong now. **Gained**: right only now. The base's errors that stay errors are not "
        "counted."
    ),
    "curve": (
        "**How to read this.** The same edit at several strengths: the score of this concept, and the mean "
        "score of {others} others, drawn with seed 0. Strength 0 is the base model. The dashed line is the "
        "strength under “Current edit”. Wanted is a strength at which the one is low and the other still "
        "high."
    ),
}


@dataclass(frozen=True)
class Against:
    """One criterion of one concept, against its controls.

    Attributes:
        name: of the criterion.
        value: of the concept's own engram.
        others: on the inputs of others; NaN where the value has that in it already.
        gaussian: values of random changes of the same size, or their mean alone.
        subset: the same of random subsets.
        p: the share of shams at least as strong, (1 + k) / (1 + n), by kind.
    """

    name: str
    value: float
    others: float
    gaussian: Sequence[float]
    subset: Sequence[float]
    p: Mapping[str, float]

    @property
    def stands(self) -> bool | None:
        """Whether the value lies above every control that counts for it; None without any."""
        # Random numbers answer loudly, whosever inputs they get: size proves nothing against them.
        loud = self.name == "Specificity"
        shams = [*self.subset, self.others] if loud else [*self.gaussian, *self.subset]
        shams = [v for v in shams if np.isfinite(v)]
        return None if not shams or not np.isfinite(self.value) else self.value > max(shams)


def about(name: str, inputs: int, kind: str, base: float, unit: str, recorded: int) -> str:
    """Say what is known of a concept before anything is erased."""
    return (
        f"{name}: recorded from {recorded:,} inputs, tested on {inputs:,} "
        f"{kind}{'s' if inputs != 1 else ''}; the base model's {unit} is {base:.1%}."
    )


def say_damage(
    name: str, own: tuple[float, float], deltas: Mapping[str, float], shams: Sequence[float] = ()
) -> str:
    """Say what erasing a concept does to it and to the others.

    Args:
        name: the concept.
        own: its score before and after.
        deltas: the change of every other concept, shares of 1.
        shams: the mean change of the others under each random edit of the same size.

    Returns:
        Two or three sentences.
    """
    text = f"“{name}” erased: its own score goes from {own[0]:.1%} to {own[1]:.1%}"
    if not deltas:
        return text + ". There is no other concept."
    values = np.array(list(deltas.values()))
    text += f", the others change by {points(float(values.mean()))} points on average. "
    worst = min(deltas, key=lambda other: deltas[other])
    hurt, spared = int((values <= -0.005).sum()), int((np.abs(values) < 0.005).sum())
    if deltas[worst] <= -0.005:
        text += f"“{worst}” suffers most, {points(deltas[worst])} points; "
    text += f"{hurt} of {len(values)} lose half a point or more, {spared} change by less."
    if len(shams):
        text += f" Random edits of the same size change the others by {points(float(np.mean(shams)))} points."
    return text


def say_nearest(name: str, others: Sequence[str], cosines: Sequence[float]) -> str:
    """Say which engrams are nearest; the others are in falling order of their cosine."""
    if not len(others):
        return f"“{name}” is the only concept here."
    text = f"Nearest to “{name}”: “{others[0]}”, cosine {cosines[0]:.2f}"
    text += f"; the median of {len(others)} others is {np.median(cosines):.2f}."
    return text.replace("-0.", "−0.")


def say_against(found: Sequence[Against], seeds: int) -> str:
    """Say for each criterion where the concept stands, and against how many controls."""
    said = []
    for one in found:
        text = f"{one.name} {one.value:.2f}"
        if np.isfinite(one.others):
            text += f" (others' inputs {one.others:.2f})"
        if one.stands is not None:
            text += ", above its controls" if one.stands else ", not above its controls"
        if one.value < _FAINT:
            text += ", but next to nothing" if one.stands else " and next to nothing"
        said.append(text)
    tail = f" p = {1 / (1 + seeds):.3f} (minimum with {seeds} seeds)." if seeds else ""
    return f"{'; '.join(said)}.{tail}".replace("-", "−")


def say_layers(name: str, table: pd.DataFrame) -> str:
    """Say where a concept is told from the others best and least; `table` has layer, own, others."""
    gap = table["own"] - table["others"]
    best, least = int(gap.to_numpy().argmax()), int(gap.to_numpy().argmin())
    text = (
        f"“{name}” is told from the others best in {table['layer'].iloc[best]}: "
        f"{table['own'].iloc[best]:.2f} on its own inputs, {table['others'].iloc[best]:.2f} on those of "
        f"others"
    )
    if len(table) > 1:
        text += (
            f"; least in {table['layer'].iloc[least]} ({table['own'].iloc[least]:.2f} and "
            f"{table['others'].iloc[least]:.2f})"
        )
    return f"{text}.".replace("-", "−")


def say_flips(probed: str, erased: str, lost: int, gained: int, count: int, kind: str) -> str:
    """Say how many answers about a concept flip when one is erased."""
    whose = "its own" if probed == erased else f"“{probed}”’s"
    some = f"{lost} of {whose} {count} {kind}{'s' if count != 1 else ''} are lost"
    return f"“{erased}” erased: {some}" + (f", and {gained} gained." if gained else ".")


def say_curve(name: str, table: pd.DataFrame, strength: float | None) -> str:
    """Say at which strength a concept has lost half its score, and what the others have lost there.

    Args:
        name: the concept.
        table: strength, forget, retain, by strength, with the base at 0.
        strength: the strength in force.

    Returns:
        A sentence or two.
    """
    base, edited = table.iloc[0], table.iloc[1:]
    half = edited[edited["forget"] <= 0.5 * base["forget"]]
    if not base["forget"]:
        text = f"The base model scores nothing on “{name}”, so there is nothing to forget."
    elif len(half):
        first = half.iloc[0]
        text = (
            f"“{name}” has lost half its score at strength {first['strength']:g}: {base['forget']:.1%} → "
            f"{first['forget']:.1%}, while the others go from {base['retain']:.1%} to {first['retain']:.1%}."
        )
    else:
        last = edited.iloc[-1]
        text = (
            f"“{name}” keeps more than half its score up to strength {last['strength']:g}: "
            f"{base['forget']:.1%} → {last['forget']:.1%}."
        )
    now = table[np.isclose(table["strength"], strength)] if strength is not None else table.iloc[:0]
    if len(now) and base["forget"]:
        row = now.iloc[0]
        text += f" At the present {row['strength']:g}: {row['forget']:.1%}, the others {row['retain']:.1%}."
    return text.replace("nan%", "–")
