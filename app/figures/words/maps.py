"""The words of the map page: how to read it, and what it shows, said from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "HOW",
    "NEIGHBOURS",
    "explain_map",
    "map_title",
    "say_cosines",
    "say_map",
    "say_moved",
    "say_neighbours",
]

NEIGHBOURS = 3
"""Nearest engrams of an erased concept that are called its neighbours."""

HOW: dict[str, str] = {
    "traces": (
        "**How to read this.** Each point is one input. Its features are how strongly every concept's engram "
        "answers it in every layer, ‖E x‖/‖W x‖ (0: silent, 1: as large as the layer's own response; mean "
        "over positions for texts, all patches together in a convolution). Points that lie together have "
        "like traces. The base's weights and engrams measure both models, so only what reaches a layer can "
        "move a point: a layer that comes before every edited one reads the same."
    ),
    "hidden": (
        "**How to read this.** Each point is one input. Its features are what the chosen layer reads (mean "
        "over positions for texts). Points that lie together look alike to that layer. An edit moves the "
        "points of a layer only if an edited layer comes before it."
    ),
    "engrams": (
        "**How to read this.** Each point is one concept. Its features are its engram as one long vector of "
        "length 1, so the distance of two points tells their cosine: concepts that lie together change the "
        "weights alike. Engrams are taken from the base; an edit does not move them."
    ),
    "cosines": (
        "**How to read this.** Each cell is the cosine between the engrams of two concepts: 1 the same "
        "direction in weight space, 0 nothing in common, below 0 opposed. High off the diagonal: "
        "erasing one concept is likely to reach the other."
    ),
    "pca": (
        " **PCA** keeps the directions in which the points differ most; each axis says its share of the "
        "variance. Distances are true as far as that share goes."
    ),
    "umap": (
        " **UMAP** keeps neighbours together. Its axes have no unit, and distances between groups, and the "
        "size of a group, mean little; the seed is fixed."
    ),
    "joint": (
        " The map is made of base and edited points together, so that movement shows; it stays put when you "
        "switch between base and edited, and changes with the edit."
    ),
    "base": (
        " The map is made of the base's points alone, and the edited ones are placed on it: the base's "
        "points are the same for every edit, but movement across the map's directions does not show."
    ),
}


def say_map(count: int, concepts: Sequence[str], of: int, available: Mapping[str, int], kind: str) -> str:
    """Say what was drawn, and from how many."""
    total = sum(available.values())
    part = f"{count:,} of {total:,} {kind}" if count < total else f"all {total:,} {kind}"
    if len(concepts) < of:
        return f"{part} of {len(concepts)} of {of} concepts (those chosen, and others drawn with seed 0). "
    return f"{part} of {of} concepts, drawn with seed 0. " if count < total else f"{part} of {of} concepts. "


def say_moved(
    concept: Sequence[str],
    relative: np.ndarray,
    shown: float,
    arrows: int,
    before: Sequence[str],
    after: Sequence[str],
) -> str:
    """Say what an edit moved: how far, whose inputs most, how many answers changed."""  # noqa: D417
    names = np.array(concept, object)
    if not (relative > 0).any():
        return "The edit moves no point: no edited layer comes before what is measured here. "
    means = {name: float(relative[names == name].mean()) for name in dict.fromkeys(concept)}
    order = sorted(means, key=lambda name: -means[name])
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    rest = [means[name] for name in order[1:]]
    first = order[0]
    text = f"The edit moves the inputs of {first} most: {means[first]:.2f} of the cloud’s radius on average"
    if rest:
        text += f", the others {np.mean(rest):.2f}"
    text += f"; {changed} of {len(concept)} answers change. "
    if np.isfinite(shown):
        text += f"These axes show {shown:.0%} of all movement. "
    if arrows:
        text += f"Arrows: the {arrows} inputs that moved most. "
    return text


def say_neighbours(erased: Sequence[str], neighbours: Sequence[str]) -> str:
    """Say who is called a neighbour of what is erased."""
    if not erased or not neighbours:
        return ""
    few = ", ".join(neighbours[:6]) + (f" and {len(neighbours) - 6} more" if len(neighbours) > 6 else "")
    return (
        f"Neighbours are the {NEIGHBOURS} engrams nearest to "
        f"{'that of ' + erased[0] if len(erased) == 1 else 'each erased one'}: {few}. "
    )


def say_cosines(names: Sequence[str], cosines: np.ndarray) -> str:
    """Say which engrams are most alike, and how alike they are as a rule."""
    if len(names) < 2:
        return "There is a single engram here. "
    others = cosines.copy()
    np.fill_diagonal(others, -np.inf)
    a, b = divmod(int(others.argmax()), len(names))
    off = cosines[~np.eye(len(names), dtype=bool)]
    return (
        f"Most alike: {names[a]} and {names[b]}, cosine {cosines[a, b]:.2f}; the median pair has "
        f"{np.median(off):.2f}. ".replace("-0.", "−0.")
    )


def map_title(about: Mapping[str, Any]) -> str:
    """Return the title of a map from the command line; see `explain_map`."""
    of = {
        "traces": "inputs by trace strengths",
        "hidden": f"inputs by what {about['layers'][0]} reads",
        "engrams": "engrams by cosine",
    }[about["of"]]
    return f"{about['model']}: {of} ({about['method'].upper()})"


def explain_map(about: Mapping[str, Any], count: int) -> list[str]:
    """Say what a map from the command line shows, and how it is read, in paragraphs.

    Args:
        about: model, of (``"traces"``, ``"hidden"`` or ``"engrams"``), method, explained, note, seed, layers;
            for inputs also available and erase.
        count: points on the map.

    Returns:
        The paragraphs.
    """
    if about["of"] == "engrams":
        shown = (
            f"Each of the {count} points is one concept: its engram as one long vector of length 1, so the "
            "distance of two points tells their cosine. Engrams are taken from the base."
        )
    else:
        features = (
            "how strongly every concept's engram answers it in every layer, ‖E x‖ / ‖W x‖"
            if about["of"] == "traces"
            else f"what the layer {about['layers'][0]} reads"
        )
        shown = (
            f"Each of the {count} points is one input ({count} of {about['available']} were drawn, seed "
            f"{about['seed']}). Its features are {features}."
        )
        if about["erase"]:
            names = ", ".join(f"{name} (strength {value:g})" for name, value in about["erase"].items())
            shown += (
                f" The points stand where the model without {names} has them; arrows lead there from the "
                "base, for the 40 inputs that moved most."
            )
    shares = [f"{share:.0%}" for share in about["explained"]]
    axes = (
        f"The axes are the directions in which the points differ most; they show {', '.join(shares)} of the "
        "variance, and distances are true as far as that goes."
        if shares
        else "UMAP keeps neighbours together; its axes have no unit, and distances between groups say little."
    )
    return [shown, axes, *([about["note"]] if about["note"] else [])]
