"""What is searched for the strength, and by which rule: plain data, checked against the model.

Everything here may come from an address that somebody typed, so nothing is used before `rule_of` and
`compute.plans.plan_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .choice import POWERS, Facts, number, one_of

if TYPE_CHECKING:
    from engram_core.solving.filters import Sharpness

__all__ = [
    "CHOSEN", "DAMAGE", "DRAWN", "FILTERS", "FORGET", "LADDER", "RULES", "SOURCES", "STRENGTHS", "STRONGEST",
    "Plan", "Rule", "bounds", "default_filters", "default_strengths", "measures_of", "most_edits",
    "most_strengths", "rule_of", "setting_text", "start_count", "start_rule",
]  # fmt: skip

# These texts stand in the address, where a change breaks links; `figures.words.options` says what the
# screen calls them.
DRAWN, CHOSEN = SOURCES = ("drawn at random", "chosen under Edit")
FORGET, DAMAGE = RULES = ("Forget at least", "Damage at most")
FILTERS = (*POWERS, *(f"{power} clipped" for power in POWERS))

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Tried if nothing else is known of a model: doubling, since nobody knows where to look."""
LADDER = ("0.125", "0.25", "0.5", "0.75", "1", "1.5", "2", "3", "4", "5", "6", "8", "10", "12", "16")
WEAKEST, STRONGEST = 0.01, 32.0
MEASURES = ("score", "recorded", "unseen", "nll", "nll_unseen")

_COUNT, BESIDE = 4, 6  # concepts erased, and others asked with each
_MOST_SEEDS = 10_000
_MOST_STRENGTHS = {False: 24, True: 8}  # on a public screen less of everything
_MOST_COUNT = {False: 40, True: 8}
_MOST_EDITS = {False: 4000, True: 400}


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        targets: what is erased, one after the other; each is a set of concepts erased together.
        drawn: whether they were drawn at random.
        strengths: ascending.
        scalings: of `choice.SCALINGS`.
        filters: sharpness.
        groups: name and layers of every group.
        others: how many of the other concepts are asked with each target.
        seed: of both draws.
        most: edits that one search may score on this server.
    """

    targets: tuple[tuple[str, ...], ...]
    drawn: bool
    strengths: tuple[float, ...]
    scalings: tuple[str, ...]
    filters: tuple[Sharpness, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    others: int
    seed: int
    most: int

    @property
    def together(self) -> bool:
        """Whether several concepts are erased at once."""
        return len(self.targets[0]) > 1

    @property
    def concepts(self) -> tuple[str, ...]:
        """Every concept that takes part in finding the strength."""
        return tuple(name for target in self.targets for name in target)

    @property
    def settings(self) -> int:
        """How many settings are tried."""
        return len(self.strengths) * len(self.scalings) * len(self.filters) * len(self.groups)

    @property
    def edits(self) -> int:
        """How many edits are scored."""
        return self.settings * len(self.targets)

    @property
    def data(self) -> dict[str, Any]:
        """The search as data, by the names of `ec.sweep`."""
        return {
            "together" if self.together else "concepts": [
                list(target) if self.together else target[0] for target in self.targets
            ],
            "strengths": list(self.strengths), "scalings": list(self.scalings),
            "sharpness": [{"power": one.power, "clip": one.clip} for one in self.filters],
            "groups": {name: list(layers) for name, layers in self.groups},
            "others": self.others, "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """What is wanted of a setting, said before it is looked for.

    Attributes:
        kind: one of `RULES`.
        bound: in points, or in nats per token for a loss.
        measure: one of `MEASURES`.
    """

    kind: str
    bound: float
    measure: str

    @property
    def is_loss(self) -> bool:
        """Whether it is about the loss of the answers and not about their share."""
        return "nll" in self.measure

    @property
    def bound_unit(self) -> str:
        """Unit of the bound."""
        return "nats" if self.is_loss else "points"

    @property
    def options(self) -> dict[str, float]:
        """The rule in the words of `ec.recommend`, without the measure."""
        bound = self.bound if self.is_loss else self.bound / 100
        return {"lost_at_least" if self.kind == FORGET else "damage_at_most": bound}


def default_strengths(explorer: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the strengths that are tried unless the visitor names some."""
    return tuple(float(s) for s in explorer.get("search", STRENGTHS))


def default_filters(facts: Facts) -> tuple[str, ...]:
    """Return the sharpness that is tried unless the visitor names some; the model's own is there."""
    own = facts.power + (" clipped" if facts.clip else "")
    return tuple(dict.fromkeys(("1", "2 clipped", own)))


def start_count(facts: Facts) -> int:
    """Return how many concepts are erased unless the visitor says so; others are left to try it on."""
    return min(_COUNT, max(1, len(facts.classes) // 2))


def measures_of(facts: Facts) -> tuple[str, ...]:
    """Return what forgetting and damage can be measured by."""
    return MEASURES if facts.kind == "text" else MEASURES[:1]


def bounds(facts: Facts, *, demo: bool) -> dict[str, tuple[float, float]]:
    """Return lowest and highest value of every number on the page, by key."""
    most = max(1, len(facts.classes) - 1)
    return {
        "count": (1, min(most, _MOST_COUNT[demo])), "draw": (0, _MOST_SEEDS), "beside": (1, most),
        "forget": (0.0, 100.0), "damage": (0.0, 100.0), "strengths": (WEAKEST, STRONGEST),
    }  # fmt: skip


def most_strengths(*, demo: bool) -> int:
    """Return how many strengths a visitor may name."""
    return _MOST_STRENGTHS[demo]


def most_edits(*, demo: bool) -> int:
    """Return how many edits one search may score."""
    return _MOST_EDITS[demo]


def start_rule(kind: str, measure: str, score: float) -> float:
    """Return the bound that a rule starts with.

    Args:
        kind: one of `RULES`.
        measure: one of `MEASURES`.
        score: mean score of the base, a share of 1: nobody can forget more.
    """
    if "nll" in measure:
        return 5.0 if kind == FORGET else 0.3
    return float(5 * int(17 * score)) if kind == FORGET else 2.0


def rule_of(raw: Mapping[str, Any], facts: Facts, score: float) -> Rule:
    """Return a valid rule; see `plan_of` and `start_rule`."""
    kind = one_of(raw.get("rule"), RULES, FORGET)
    measure = one_of(raw.get("measure"), measures_of(facts), "score")
    key = "forget" if kind == FORGET else "damage"
    bound = number(raw.get(key), 0.0, 100.0, start_rule(kind, measure, score))
    return Rule(kind, bound, measure)


def setting_text(setting: Mapping[str, Any]) -> str:
    """Return a setting as an address holds it."""
    sharp = f"{setting['power']:g}{' clipped' if setting['clip'] else ''}"
    return f"{setting['strength']:g}, {setting['scaling']}, {sharp}, {setting['group']}"
