"""What a visitor can choose, as plain data, and how a value from outside is checked.

Everything here may come from an address that somebody typed, so nothing is used before `clean`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = [
    "ALPHA",
    "DEFAULTS",
    "ERASE",
    "IN_PLACE",
    "KEEP",
    "MODES",
    "NULLS",
    "POWERS",
    "SCALINGS",
    "SEEDS",
    "Choice",
    "Facts",
    "clean",
    "number",
    "offered",
    "one_of",
    "problems",
    "quoted",
    "start_values",
    "writing",
]

# These texts stand in the address, where a change breaks links; `figures.words.options` says what the
# screen calls them.
ERASE, KEEP = "Switch off", "Keep only"
MODES = (ERASE, KEEP)
FROM_NOTHING, IN_PLACE = "from nothing", "in place"
NULLS = (FROM_NOTHING, IN_PLACE)
SCALINGS = ("plain", "adaptive")
POWERS = ("1", "1.5", "2", "3", "4")
SEEDS = ("a few", "20")
"""How many shams an effect is held against: enough for a look, or for a test (docs/science.md section 7)."""
ALPHA = "alpha."
"""Prefix of the address key that holds the own strength of one concept."""

DEFAULTS: dict[str, Any] = {
    "mode": ERASE,
    "concepts": [],
    "null": FROM_NOTHING,
    "strength": 1.0,
    "keep_strength": 1.0,
    "own": False,
    "scaling": "plain",
    "power": "1",
    "clip": False,
    "layers": [],
}
"""Value of every widget that describes the edit when nothing is edited."""

_SAID = ("true", "false")  # how an address says yes and no


@dataclass(frozen=True)
class Facts:
    """What a page has to know about a model to offer choices.

    Attributes:
        name: name of the model.
        kind: "image", "text", or "values" for a table's rows and whatever else a model reads.
        classes: concept names; for a classifier in the order of the model's outputs.
        held_out: number of held-out inputs (images, questions) per concept.
        layers: layers that hold engrams, in forward order.
        strengths: lowest and highest strength on offer.
        strongest: strength that can be reached beyond those on offer, where a search has led to it.
        strength: strength that the page starts with, found for this model (`explorer.json` says how).
        power: sharpness that the page starts with, one of `POWERS`.
        clip: whether the page starts with clipping.
        strength_source: how that strength was found, in a sentence; "" if nobody has searched for it.
        portion: inputs that are scored in one turn, some 50 to 500 ms of work.
        slow: whether scoring takes so long that controls are run on request only.
        features: names of the numbers in one input, where these can be moved one by one.
    """

    name: str
    classes: tuple[str, ...]
    held_out: Mapping[str, int]
    layers: tuple[str, ...]
    kind: str = "image"
    strengths: tuple[float, float] = (-1.0, 2.0)
    strongest: float = 0.0
    strength: float = 1.0
    power: str = "1"
    clip: bool = False
    strength_source: str = ""
    portion: int = 400
    slow: bool = False
    features: tuple[str, ...] = ()

    @property
    def allowed(self) -> tuple[float, float]:
        """Lowest and highest strength that an edit may have."""
        return self.strengths[0], max(self.strengths[1], self.strongest)


@dataclass(frozen=True)
class Choice:
    """The edit that one visitor has chosen, checked.

    Attributes:
        sample: name of the model.
        mode: one of `MODES`.
        concepts: the concepts switched off, or the only ones kept.
        null: one of `NULLS`; counts only for keeping.
        strength: α of every concept without one of its own; in the mode `KEEP` that of keeping.
        single_strengths: α of single concepts, in the order of the concepts.
        scaling: one of `SCALINGS`.
        power: sharpness.
        clip: whether no direction is removed more than once.
        layers: layers the edit acts on; never empty.
        everywhere: whether those are all layers there are.
    """

    sample: str
    mode: str
    concepts: tuple[str, ...]
    null: str
    strength: float
    single_strengths: tuple[tuple[str, float], ...]
    scaling: str
    power: float
    clip: bool
    layers: tuple[str, ...]
    everywhere: bool

    def first(self, most: int) -> Choice:
        """Return the edit with its first few concepts only."""
        names = self.concepts[:most]
        single = tuple(pair for pair in self.single_strengths if pair[0] in names)
        return replace(self, concepts=names, single_strengths=single)

    @property
    def keeps(self) -> bool:
        """Whether concepts are chosen to be kept, and all others go."""
        return self.mode == KEEP and bool(self.concepts)

    @property
    def from_nothing(self) -> bool:
        """Whether the chosen layers start empty."""
        return self.keeps and self.null == FROM_NOTHING

    @property
    def strengths(self) -> dict[str, float]:
        """The strength of every chosen concept."""
        return dict.fromkeys(self.concepts, self.strength) | dict(self.single_strengths)

    @property
    def changes(self) -> bool:
        """Whether anything is edited at all."""
        if self.keeps and not self.from_nothing:
            return self.strength != 0.0
        return self.from_nothing or any(self.strengths.values())

    def gone(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the concepts that the edit is meant to take away."""
        if not self.changes:
            return ()
        if self.keeps:
            gone = self.from_nothing or self.strength > 0
            return tuple(c for c in classes if c not in self.concepts) if gone else ()
        strengths = self.strengths
        return tuple(c for c in classes if strengths.get(c, 0.0) > 0)


def one_of(value: Any, options: Sequence[str], default: str) -> str:
    """Return a value if it is one of the options, else the default."""
    return value if value in options else default


def number(value: Any, low: float, high: float, default: float) -> float:
    """Return a finite number within its bounds, else the default."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return found if math.isfinite(found) and low <= found <= high else default


def start_values(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strength and sharpness that a model starts with, from what is known about it."""
    return {
        "strength": float(known.get("strength", DEFAULTS["strength"])),
        "power": str(known.get("power", DEFAULTS["power"])),
        "clip": bool(known.get("clip", DEFAULTS["clip"])),
    }


def writing(most_tokens: int) -> dict[str, tuple[Any, Any, Any]]:
    """Return how a text is written: start, least and greatest value by key of the address."""
    return {"tokens": (12, 1, most_tokens), "temperature": (0.0, 0.0, 2.0), "seed": (0, 0, 10_000)}


def clean(raw: Mapping[str, Any], facts: Facts) -> Choice:
    """Return an edit that is valid for a model; what is unknown or out of range becomes its default."""
    # Order and repetitions in the address must not make two edits of one.
    chosen = set(raw.get("concepts") or ())
    layers = set(raw.get("layers") or ())
    concepts = tuple(name for name in facts.classes if name in chosen)
    mode = one_of(raw.get("mode"), MODES, ERASE)
    null = one_of(raw.get("null"), NULLS, FROM_NOTHING)
    if mode == KEEP:  # the strength that erases a memory says nothing of how strongly one is kept
        strength = number(raw.get("keep_strength"), *facts.allowed, DEFAULTS["keep_strength"])
    else:
        strength = number(raw.get("strength"), *facts.allowed, facts.strength)
    # Keeping in place takes all the others away together, at one strength.
    single = bool(raw.get("own")) and not (mode == KEEP and null == IN_PLACE)
    strengths = (
        [(name, number(raw.get(ALPHA + name), *facts.allowed, strength)) for name in concepts]
        if single
        else []
    )
    only = tuple(name for name in facts.layers if name in layers)
    return Choice(
        sample=facts.name,
        mode=mode,
        concepts=concepts,
        null=null,
        strength=strength,
        single_strengths=tuple(strengths),
        scaling=one_of(raw.get("scaling"), SCALINGS, "plain"),
        power=float(one_of(raw.get("power"), POWERS, facts.power)),
        clip=facts.clip if raw.get("clip") is None else bool(raw.get("clip")),
        layers=only or facts.layers,
        everywhere=not only or only == facts.layers,
    )


def offered(facts: Facts) -> dict[str, Sequence[Any]]:
    """Return what the widgets of the edit offer for a model, by key."""
    known: dict[str, Sequence[Any]] = {
        "mode": MODES, "concepts": facts.classes, "null": NULLS, "own": (True, False), "scaling": SCALINGS,
        "power": POWERS, "clip": (True, False), "layers": facts.layers,
    }  # fmt: skip
    return known | ({"class": facts.classes} if facts.kind != "text" else {})


def problems(
    address: Mapping[str, Sequence[str]],
    facts: Facts,
    others: Mapping[str, Sequence[str]] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> list[str]:
    """Return a sentence for every value in an address that cannot be used.

    Args:
        address: the values of each key, as they stand in the address.
        facts: the model that the address is for.
        others: options of keys that are not part of the edit.
        bounds: lowest and highest value of numbers that are not part of the edit.
    """
    known: dict[str, Sequence[Any]] = dict(others or {}) | offered(facts) | {"own": _SAID, "clip": _SAID}
    found = []
    for key, options in known.items():
        wrong = [value for value in address.get(key, ()) if value not in options]
        if wrong:
            few = ", ".join(options[:12]) + (f", … ({len(options)} in all)" if len(options) > 12 else "")
            found.append(f"{key} {quoted(wrong)} is not one of {few}")
    most = max(facts.held_out.values(), default=1)
    limits = dict(bounds or {}) | {
        "strength": facts.allowed, "keep_strength": facts.allowed, "behind": (1, most),
    }  # fmt: skip
    if facts.kind != "text":
        shown = one_of(next(iter(address.get("class", ())), None), facts.classes, facts.classes[0])
        limits["image"] = (1, facts.held_out[shown])
    single = [key for key in address if key.startswith(ALPHA)]
    limits |= dict.fromkeys(single, facts.allowed)
    strange = [key for key in single if key.removeprefix(ALPHA) not in facts.classes]
    if strange:
        found.append(f"{quoted(strange)} names no concept of this model")
    for key, (low, high) in limits.items():
        wrong = [v for v in address.get(key, ()) if math.isnan(number(v, low, high, math.nan))]
        if wrong:
            found.append(f"{quoted([key])[1:-1]} {quoted(wrong)} is not a number from {low:g} to {high:g}")
    return found


def quoted(values: Sequence[str]) -> str:
    """Quote what was typed, cut to a length that fits a line."""
    few = ", ".join(f"“{value[:24]}{'…' if len(value) > 24 else ''}”" for value in values[:3])
    return few + (f" and {len(values) - 3} more" if len(values) > 3 else "")
