"""What the figures of the tour come to: sentences that are computed from the scores on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .as_text import Markdown, filled

__all__ = ["Measured", "say_control", "say_erased", "say_kept_alone", "say_neighbours"]

_POINT = 0.01  # a change that counts as one


@dataclass(frozen=True)
class Measured:
    """The scores of a page, as shares of 1.

    Attributes:
        classes: names of all concepts.
        base: score of the base model by concept.
        edited: that of the edited model.
        chosen: the concepts that are switched off, or kept.
        runs: scores under random edits of the same size, one by one; () if none were measured.
    """

    classes: Sequence[str]
    base: Mapping[str, float]
    edited: Mapping[str, float]
    chosen: Sequence[str]
    runs: Sequence[Mapping[str, float]] = ()

    @property
    def others(self) -> list[str]:
        """The concepts that are not chosen."""
        return [name for name in self.classes if name not in self.chosen]

    @property
    def control(self) -> dict[str, float]:
        """Mean score under the random edits by concept."""
        return {name: float(np.mean([run[name] for run in self.runs])) for name in self.classes}


def _mean(values: Mapping[str, float], names: Sequence[str]) -> float:
    return float(np.mean([values[name] for name in names]))


def _both(found: Measured, names: Sequence[str]) -> str:
    return f"{_mean(found.base, names):.1%} → {_mean(found.edited, names):.1%}"


def say_erased(found: Measured) -> Markdown:
    """Say what the chosen lose and what that costs the others."""
    text = filled("On this screen: {} {}", ", ".join(found.chosen), _both(found, found.chosen))
    if not found.others:
        return text + "."
    return text + filled(", the other {} {} on average.", len(found.others), _both(found, found.others))


def say_kept_alone(found: Measured) -> Markdown:
    """Say what is left of what is kept, and of the rest."""
    text = filled("On this screen: {}, isolated, {}", ", ".join(found.chosen), _both(found, found.chosen))
    return text + filled("; the other {} {} on average.", len(found.others), _both(found, found.others))


def say_control(found: Measured) -> Markdown:
    """Say what random edits of the same size do to the chosen and to the others."""
    if not found.runs or not found.others:
        return ""
    control = found.control
    low = min(found.others, key=lambda name: control[name])
    high = max(found.others, key=lambda name: control[name])
    return filled(
        "On this screen: random changes take {} from {} to {}, and the others from {} to {} on average, "
        "between {} ({}) and {} ({}). The engram leaves the others at {}.",
        ", ".join(found.chosen), f"{_mean(found.base, found.chosen):.1%}",
        f"{_mean(control, found.chosen):.1%}", f"{_mean(found.base, found.others):.1%}",
        f"{_mean(control, found.others):.1%}", f"{control[low]:.1%}", low, f"{control[high]:.1%}", high,
        f"{_mean(found.edited, found.others):.1%}",
    )  # fmt: skip


def say_neighbours(found: Measured) -> Markdown:
    """Say which of the others lose and which gain."""
    change = {name: found.edited[name] - found.base[name] for name in found.others}
    lose = sorted((name for name in change if change[name] <= -_POINT), key=lambda name: change[name])
    gain = sorted((name for name in change if change[name] >= _POINT), key=lambda name: -change[name])
    said = []
    for names, verb in ((lose, "lose"), (gain, "gain")):
        few = [f"{name} ({100 * change[name]:+.1f} points)".replace("-", "−") for name in names[:4]]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        said.append(f"{', '.join(few)}{more} {verb}{'s' if len(names) == 1 else ''}" if names else "")
    both = " and ".join(part for part in said if part) or "none of the others changes by a point or more"
    return filled("On this screen: {}.", both)
