"""What a visitor can choose, as plain data, and how a value from outside is checked.

Everything here may come from an address that somebody typed, so nothing is used before `clean`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "DEFAULTS",
    "ERASE",
    "IN_PLACE",
    "KEEP",
    "MODES",
    "NULLS",
    "POWERS",
    "SCALINGS",
    "STRENGTHS",
    "Choice",
    "Facts",
    "clean",
    "problems",
]

# These texts are shown on the screen and stand in the address: a change breaks links.
ERASE, KEEP = "Switch off", "Keep only"
MODES = (ERASE, KEEP)
FROM_NOTHING, IN_PLACE = "from nothing", "in place"
NULLS = (FROM_NOTHING, IN_PLACE)
SCALINGS = ("plain", "adaptive")
POWERS = ("1", "1.5", "2")
STRENGTHS = (-1.0, 2.0)

DEFAULTS: dict[str, Any] = {
    "mode": ERASE,
    "concepts": [],
    "null": FROM_NOTHING,
    "strength": 1.0,
    "scaling": "plain",
    "power": "1",
    "clip": False,
    "layers": [],
}
"""Value of every widget that describes the edit when nothing is edited."""


@dataclass(frozen=True)
class Facts:
    """What a page has to know about a sample to offer choices.

    Attributes:
        name: name of the sample.
        classes: concept names in the order of the model's outputs.
        held_out: number of held-out images per concept.
        layers: layers that hold engrams, in forward order.
    """

    name: str
    classes: tuple[str, ...]
    held_out: Mapping[str, int]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Everything one visitor has chosen, checked.

    Attributes:
        sample: name of the sample.
        shown: concept that the shown image belongs to.
        image: number of the shown image among that concept's held-out ones, from 1.
        mode: one of `MODES`.
        concepts: the concepts switched off, or the only ones kept.
        null: one of `NULLS`; counts only for keeping.
        strength: α.
        scaling: one of `SCALINGS`.
        power: sharpness.
        clip: whether no direction is removed more than once.
        layers: layers the edit acts on; never empty.
    """

    sample: str
    shown: str
    image: int
    mode: str
    concepts: tuple[str, ...]
    null: str
    strength: float
    scaling: str
    power: float
    clip: bool
    layers: tuple[str, ...]

    @property
    def keeps(self) -> bool:
        """Whether concepts are chosen to be kept, and all others go."""
        return self.mode == KEEP and bool(self.concepts)

    @property
    def from_nothing(self) -> bool:
        """Whether the chosen layers start empty."""
        return self.keeps and self.null == FROM_NOTHING

    @property
    def changes(self) -> bool:
        """Whether anything is edited at all."""
        return bool(self.concepts) and (self.strength != 0.0 or self.from_nothing)

    def gone(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the concepts that the edit is meant to take away."""
        if not self.changes or (self.strength <= 0 and not self.from_nothing):
            return ()
        return tuple(c for c in classes if (c in self.concepts) != (self.mode == KEEP))


def _one_of(value: Any, options: Sequence[str], default: str) -> str:
    return value if value in options else default


def _number(value: Any, low: float, high: float, default: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if math.isfinite(number) and low <= number <= high else default


def clean(raw: Mapping[str, Any], facts: Facts) -> Choice:
    """Return a choice that is valid for a sample; what is unknown or out of range becomes its default."""
    shown = _one_of(raw.get("class"), facts.classes, facts.classes[0])
    # Order and repetitions in the address must not make two edits of one.
    chosen = set(raw.get("concepts") or ())
    layers = set(raw.get("layers") or ())
    choice = Choice(
        sample=facts.name,
        shown=shown,
        image=int(_number(raw.get("image"), 1, facts.held_out[shown], 1)),
        mode=_one_of(raw.get("mode"), MODES, ERASE),
        concepts=tuple(name for name in facts.classes if name in chosen),
        null=_one_of(raw.get("null"), NULLS, FROM_NOTHING),
        strength=_number(raw.get("strength"), *STRENGTHS, 1.0),
        scaling=_one_of(raw.get("scaling"), SCALINGS, "plain"),
        power=float(_one_of(raw.get("power"), POWERS, "1")),
        clip=bool(raw.get("clip")),
        layers=tuple(name for name in facts.layers if name in layers) or facts.layers,
    )
    return choice


def problems(address: Mapping[str, Sequence[str]], facts: Facts) -> list[str]:
    """Return a sentence for every value in an address that cannot be used.

    Args:
        address: the values of each key, as they stand in the address.
        facts: the sample that the address is for.
    """
    known: dict[str, Sequence[str]] = {
        "class": facts.classes,
        "mode": MODES,
        "concepts": facts.classes,
        "null": NULLS,
        "scaling": SCALINGS,
        "power": POWERS,
        "clip": ("true", "false"),
        "layers": facts.layers,
    }
    found = []
    for key, options in known.items():
        wrong = [value for value in address.get(key, ()) if value not in options]
        if wrong:
            found.append(f"{key} {_quoted(wrong)} is not one of {', '.join(options)}")
    shown = _one_of(next(iter(address.get("class", ())), None), facts.classes, facts.classes[0])
    for key, low, high in (("strength", *STRENGTHS), ("image", 1, facts.held_out[shown])):
        wrong = [v for v in address.get(key, ()) if math.isnan(_number(v, low, high, math.nan))]
        if wrong:
            found.append(f"{key} {_quoted(wrong)} is not a number from {low:g} to {high:g}")
    return found


def _quoted(values: Sequence[str]) -> str:
    """Quote what was typed, cut to a length that fits a line."""
    return ", ".join(f"“{value[:24]}{'…' if len(value) > 24 else ''}”" for value in values[:3])
