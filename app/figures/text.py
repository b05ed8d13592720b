"""The words: how to read each figure, and each figure said in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..choice import Choice
from .bars import Control

__all__ = ["HOW", "describe_edit", "groups_of", "marks_of", "mean_of", "say_answer", "say_scores"]

HOW: dict[str, str] = {
    "answer": (
        "**How to read this.** Both models see the same image. Each bar is the probability a model gives "
        "to a class; all bars of one model add up to 100 %. Grey is the base model, blue the edited one. "
        "The difference is edited minus base: orange to the left is what the edit took away, blue to the "
        "right is where it went. One image is an example, not evidence: that is the next figure."
    ),
    "scores": (
        "**How to read this.** Each bar is the share of held-out images of a class, never seen in training "
        "and never recorded, that a model names correctly. A clean edit empties the chosen classes and "
        "leaves the others where they were.\n\n"
        "**The control** (purple diamond) is a random Gaussian change with the same norm as this edit in "
        "every layer: mean of several seeds, with a line from lowest to highest. If the diamond falls as "
        "far as the blue bar, the effect comes from the size of the change, not from what was removed.\n\n"
        "With few images per class, a difference of one image is a few points."
    ),
    "proof": (
        "**How to read this.** The size of the edit is ‖ΔW‖ / ‖W‖, the norm of the change over the norm "
        "of the weights, over all edited layers together. It may exceed 1: an engram also answers "
        "directions of the input that the data hardly use.\n\n"
        "The edited model is a second set of layers beside the base. The base's weights are never written; "
        "their SHA-256 is compared at every change, and switching off means using the base itself."
    ),
    "strength": (
        "How much of the engram is subtracted. 0 is the base model, 1 the engram once, "
        "2 twice. Below 0 the memory is amplified instead."
    ),
    "strength_nothing": (
        "How strongly the kept memories are written into the empty layers. 1 is as they were."
    ),
    "strength_in_place": (
        "How much of all the other memories is subtracted. 0 is the base model, 1 all of it once."
    ),
    "null": (
        "**From nothing:** the chosen layers start empty and hold the kept memories alone. "
        "**In place:** the other memories are taken out of the weights; what belongs to no concept stays."
    ),
    "scaling": (
        "Plain edits every layer fully. Adaptive edits a layer the more, the larger the engram is "
        "against its weights. Not available for keeping from nothing."
    ),
    "power": (
        "Above 1, directions that the concept shares with others are spared: each is removed by "
        "its exclusivity to this power. 1 is the published engram."
    ),
    "clip": "No direction is removed more than once, however high the strength.",
    "layers": "Layers the edit acts on. None chosen means all of them.",
}


def describe_edit(choice: Choice) -> str:
    """Say in a phrase what is on."""
    names = ", ".join(choice.concepts)
    if not choice.concepts:
        return "Nothing is switched off"
    if not choice.changes:
        return f"{names} at strength 0: the same as the base"
    at = f"strength {choice.strength:g}"
    if choice.from_nothing:
        return f"Only {names} kept, from nothing, {at}"
    if choice.keeps:
        return f"Only {names} kept, in place, {at}"
    if choice.strength < 0:
        return f"{names} amplified, {at}".replace("-", "−")
    return f"{names} off, {at}"


def marks_of(choice: Choice) -> dict[str, str]:
    """Return the word that stands behind each chosen class in a figure."""
    if not choice.changes:
        return {}
    word = "kept" if choice.mode == "Keep only" else "off" if choice.strength > 0 else "amplified"
    return dict.fromkeys(choice.concepts, word)


def groups_of(choice: Choice, classes: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the classes in the groups that an edit treats alike, each with a title."""
    chosen = choice.concepts if choice.changes else ()
    rest = tuple(name for name in classes if name not in chosen)
    if not chosen:
        return [("All classes", rest)]
    if choice.keeps:
        return [("Kept", chosen), ("Taken away", rest)]
    return [("Switched off" if choice.strength > 0 else "Amplified", chosen), ("All others", rest)]


def say_answer(classes: Sequence[str], base: np.ndarray, edited: np.ndarray, truth: str) -> str:
    """Say the figure of one image in words."""
    before, after, true = int(base.argmax()), int(edited.argmax()), list(classes).index(truth)
    moved = (
        f"The answer stays {classes[before]}"
        if before == after
        else f"The answer changes from {classes[before]} to {classes[after]}"
    )
    return (
        f"{moved}. Probability of the true class {truth}: {base[true]:.1%} before, {edited[true]:.1%} after."
    )


def mean_of(values: Mapping[str, float] | None, names: Sequence[str]) -> float | None:
    """Return the mean over some classes, or None if there are none."""
    return float(np.mean([values[name] for name in names])) if values is not None and names else None


def say_scores(
    classes: Sequence[str],
    base: Mapping[str, float],
    edited: Mapping[str, float],
    gone: Sequence[str],
    control: Control | None,
) -> str:
    """Say the figure of all classes in words."""
    rest = [name for name in classes if name not in gone]
    worst = min(rest, key=lambda name: edited[name] - base[name], default=None)
    parts = []
    if worst is not None:
        loss = 100 * (edited[worst] - base[worst])
        if loss < -0.05:
            parts.append(f"Largest loss among the others: {worst}, {loss:+.1f} points".replace("-", "−"))
        else:
            parts.append("No other class loses accuracy")
    if control is not None:
        drop = 100 * float(np.mean(control.mean - np.array([base[name] for name in classes])))
        said = f"{drop:+.1f}".replace("-", "−")
        parts.append(f"a random edit of the same size changes a class by {said} points on average")
    text = "; ".join(parts) + "." if parts else ""
    if control is not None and gone and rest:
        mine = _selective(classes, base, np.array([edited[name] for name in classes]), gone)
        sham = _selective(classes, base, control.mean, gone)
        said = (
            f" Beyond what the other classes lose, what is switched off loses {mine:.1f} points with this "
            f"edit and {sham:.1f} with the random one."
        )
        text += said.replace("-", "−")
    return text


def _selective(
    classes: Sequence[str], base: Mapping[str, float], after: np.ndarray, gone: Sequence[str]
) -> float:
    """Return how many points more the classes in `gone` lose than the rest: damage alone gives 0."""
    lost = 100 * (np.array([base[name] for name in classes]) - after)
    off = np.array([name in gone for name in classes])
    return float(lost[off].mean() - lost[~off].mean())
