"""The words: how to read each figure, and each figure said in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...choice.choice import Choice
from .verdict import DEFINITION

if TYPE_CHECKING:
    from ..charts.control import Control

__all__ = ["HOW", "describe_edit", "groups_of", "marks_of", "mean_of", "percent", "say_answer", "say_scores"]

HOW: dict[str, str] = {
    "panel": (
        "**How to read this.** The input, what the base model says to it and what the edited model says: the "
        "likeliest class with its probability, and the one after it. Where the input's class is known, its "
        "own probability before and after stands below. The last line says what is on, how large the edit is "
        "against the weights it changes, and which model was loaded.\n\n" + DEFINITION
    ),
    "texts": (
        "**How to read this.** The same prompt, continued by the base model and by the edited one. Words "
        "that the base's continuation does not have at their place are underlined on a tinted ground, and "
        "the sentence below counts them. Where the right answer is known, its probability (of all its tokens "
        "together) stands below. The last line says what is on, how large the edit is against the weights "
        "it changes, and which model was loaded.\n\n" + DEFINITION
    ),
    "answer": (
        "**How to read this.** Both models see the same input. Each bar is the probability a model gives "
        "to a class; all bars of one model add up to 100%. Grey is the base model, blue the edited one. "
        "The difference is edited minus base: orange to the left is what the edit removed, blue to the "
        "right is where it went. One input is an example, not evidence: that is the next figure."
    ),
    "scores": (
        "**How to read this.** Each bar is the share of held-out inputs of a class, never seen in training "
        "and never recorded, that a model names correctly. A clean edit empties the chosen classes and "
        "leaves the others where they were.\n\n"
        "**The control** (purple diamond) is a random Gaussian change with the same norm as this edit in "
        "every layer: mean of several seeds, with a line from lowest to highest. If the diamond falls as "
        "far as the blue bar, the effect comes from the size of the change, not from what was removed.\n\n"
        "With few inputs per class, a difference of one is a few points."
    ),
    "recall": (
        "**How to read this.** Each bar is the share of questions about a concept that a model answers "
        "exactly, token for token: those whose sentences were recorded and those that were not. A clean "
        "edit empties the chosen concepts and leaves the others where they were.\n\n"
        "**The control** (purple diamond) is a random Gaussian change with the same norm as this edit in "
        "every layer: mean of several seeds, with a line from lowest to highest. If the diamond falls as "
        "far as the blue bar, the effect comes from the size of the change, not from what was removed."
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
    "questions": (
        "**How to read this.** Every question about the chosen concepts, with the answer that is right. "
        "“Exact” means that the model's likeliest continuation is the answer, token for token. NLL is the "
        "mean negative log-likelihood of the answer in nats per token: higher is less known. “First” is the "
        "probability of the answer's first token. Questions of the split “probe” were never recorded: if "
        "they are lost too, more than a sentence was taken out."
    ),
    "not_searched": ("Nobody has searched for this model's strength: 1 is only where the slider starts."),
    "rest": (
        "**How to read this.** What the edit did to everything it was not meant to touch: exact recall and "
        "NLL (nats per answer token) of all other concepts, the perplexity of the background texts if the "
        "model has any, and the share of continuations that became degenerate, that is, in which one trigram "
        "of words covers more than half of the text. Edits that are too strong show here first."
    ),
    "seeds": (
        "Each seed is another random edit. A few show whether the control is anywhere near; 20 are a test, "
        "and take as many times longer."
    ),
    "control": (
        "Scores random edits of the same size as this one. On a model of this size that takes minutes, so it "
        "is not run unasked; without it, the effect stands without its control."
    ),
    "by_layer": (
        "**How to read this.** Each row edits one layer (or block) alone, with the strength it has in the "
        "whole edit. A cell is the change in the log-probability of a token, in nats: orange is less likely. "
        "Rows do not add up to the whole edit, since layers build on each other."
    ),
    "own": "Every chosen concept gets a strength of its own, at once; the slider is where they start.",
    "strength_nothing": (
        "How strongly the isolated concepts are written into the empty layers. 1 is as they were."
    ),
    "strength_in_place": (
        "How much of all the other memories is subtracted. 0 is the base model, 1 all of it once."
    ),
    "null": (
        "**From zero weights:** the chosen layers start empty and hold the isolated concepts alone. "
        "**Subtract the others:** the other memories are taken out of the weights; what belongs to no "
        "concept stays."
    ),
    "scaling": (
        "Plain edits every layer fully. Adaptive edits a layer the more, the larger the engram is "
        "against its weights. Not available when a concept is isolated from zero weights."
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
    names = _few(choice.concepts)
    if not choice.concepts:
        return "No edit"
    if not choice.changes:
        return f"{names} at strength 0: the same as the base"
    at = _strengths(choice)
    where = "" if choice.everywhere else f", in {_few(choice.layers)} only"
    if choice.from_nothing:
        return f"{names} isolated, from zero weights, {at}{where}"
    if choice.keeps:
        return f"{names} isolated, others subtracted, {at}{where}"
    if all(value < 0 for value in choice.strengths.values()):
        return f"{names} amplified, {at}{where}".replace("-", "−")
    return f"{names} erased, {at}{where}".replace(" -", " −")


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most + 1 else ""
    return ", ".join(names[:most] if more else names) + more


def _strengths(choice: Choice) -> str:
    in_place = choice.keeps and not choice.from_nothing
    values = [choice.strength] if in_place else list(choice.strengths.values())
    if len(set(values)) == 1:
        return f"strength {values[0]:g}"
    return "strengths " + _few([f"{value:g}" for value in values])


def marks_of(choice: Choice) -> dict[str, str]:
    """Return the word that stands behind each chosen class in a figure."""
    if not choice.changes:
        return {}
    if choice.keeps:
        return dict.fromkeys(choice.concepts, "isolated")
    return {
        name: "erased" if value > 0 else "amplified" for name, value in choice.strengths.items() if value != 0
    }


def groups_of(choice: Choice, classes: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the classes in the groups that an edit treats alike, each with a title."""
    chosen = choice.concepts if choice.changes else ()
    rest = tuple(name for name in classes if name not in chosen)
    if not chosen:
        return [("All concepts", rest)]
    if choice.keeps:
        return [("Isolated", chosen), ("Others", rest)]
    off = choice.gone(classes)
    groups = [("Erased", off), ("Amplified", tuple(n for n in chosen if choice.strengths[n] < 0))]
    return [(title, names) for title, names in groups if names] + [("All others", rest)]


def say_answer(classes: Sequence[str], base: np.ndarray, edited: np.ndarray, truth: str | None) -> str:
    """Say the figure of one image in words."""
    before, after = int(base.argmax()), int(edited.argmax())
    moved = (
        f"The answer stays {classes[before]}"
        if before == after
        else f"The answer changes from {classes[before]} to {classes[after]}"
    )
    about = before if truth is None else list(classes).index(truth)
    which = "" if truth is None else "the true class "
    return (
        f"{moved}. Probability of {which}{classes[about]}: "
        f"{percent(float(base[about]))} before, {percent(float(edited[about]))} after."
    )


def percent(value: float) -> str:
    """Write a probability; what is almost nothing or almost all is not written as either."""
    if 0 < value < 0.001:
        return "< 0.1%"
    return "> 99.9%" if 0.999 < value < 1 else f"{value:.1%}"


def mean_of(values: Mapping[str, float] | None, names: Sequence[str]) -> float | None:
    """Return the mean over some classes, or None if there are none."""
    return float(np.mean([values[name] for name in names])) if values is not None and names else None


def say_scores(
    classes: Sequence[str],
    base: Mapping[str, float],
    edited: Mapping[str, float],
    gone: Sequence[str],
    control: Control | None,
    *,
    kept: Sequence[str] = (),
    what: str = "class",
    score: str = "accuracy",
) -> str:
    """Say the figure of all classes in words.

    Args:
        classes: the rows.
        base: score of the base model in each.
        edited: that of the edited model.
        gone: those that the edit is meant to take away.
        control: scores under random edits, if they were measured.
        kept: the only ones that an edit is meant to keep; none of an edit that switches off.
        what: what a row is.
        score: what its bars are.

    Returns:
        The sentences.
    """
    rest = [name for name in classes if name not in gone]
    if kept:
        before, after = (mean_of(values, kept) for values in (base, edited))
        parts = [f"What is isolated goes from {before:.1%} to {after:.1%}"]
        if gone:
            before, after = (mean_of(values, gone) for values in (base, edited))
            parts.append(f"everything else from {before:.1%} to {after:.1%}")
    else:
        parts = _worst(rest, base, edited, what, score)
    if control is not None:
        drop = 100 * float(np.mean(control.mean - np.array([base[name] for name in classes])))
        parts.append(f"a random edit of the same size changes a {what} by {_points(drop)} points on average")
    text = "; ".join(parts) + "." if parts else ""
    if control is not None and gone and rest:
        mine = _selective(classes, base, np.array([edited[name] for name in classes]), gone)
        sham = _selective(classes, base, control.mean, gone)
        sizes = f"{_size(mine)} points with this edit and {_size(sham)} with the random one."
        text += (
            f" Beyond what the isolated concepts lose, everything else loses {sizes}"
            if kept
            else f" Beyond what the others lose, what is erased loses {sizes}"
        )
    return text


def _worst(
    rest: Sequence[str], base: Mapping[str, float], edited: Mapping[str, float], what: str, score: str
) -> list[str]:
    """Say which of those that should stay loses most."""
    worst = min(rest, key=lambda name: edited[name] - base[name], default=None)
    if worst is None:
        return []
    loss = 100 * (edited[worst] - base[worst])
    if loss >= -0.05:
        return [f"No other {what} loses {score}"]
    return [f"Largest loss among the others: {worst}, {loss:+.1f} points".replace("-", "−")]


def _size(value: float) -> str:
    return "0.0" if abs(value) < 0.05 else f"{value:.1f}".replace("-", "−")


def _points(value: float) -> str:
    return "0.0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "−")


def _selective(
    classes: Sequence[str], base: Mapping[str, float], after: np.ndarray, gone: Sequence[str]
) -> float:
    """Return how many points more the classes in `gone` lose than the rest: damage alone gives 0."""
    lost = 100 * (np.array([base[name] for name in classes]) - after)
    off = np.array([name in gone for name in classes])
    return float(lost[off].mean() - lost[~off].mean())
