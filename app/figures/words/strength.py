"""The search for the strength in words: what is searched, what was found, what trying it on others says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ...choice.search import FORGET, Plan, Rule
from .settings import setting_in_words

__all__ = [
    "ABOUT", "HELP", "HOW", "MEASURE_NAMES", "duration", "say_control", "say_recommended", "say_confirmed",
    "say_nearest", "say_plan", "say_table", "value_of",
]  # fmt: skip

ABOUT = (
    "The same strength erases a memory from one model, does nothing to another and ruins a third. So it is "
    "searched for each model: what is forgotten, against what that costs everything else."
)

HOW: dict[str, str] = {
    "frontier": (
        "**How to read this.** Each mark is one setting of the edit: a strength, with its selectivity, "
        "scaling and layers. **Up** is what was asked for: the erased concepts are forgotten. **To the "
        "right** is what it costs: the other concepts lose too. The best place is the top left. Dotted lines "
        "follow one edit from weak to strong.\n\n"
        "**The frontier** (blue) holds the settings that no other one beats; the numbers beside it are their "
        "strengths. **The rule** (dashed) is said before one looks; the ring is what it recommends.\n\n"
        "**The control** (purple diamond) is a random Gaussian change with the same norm in every layer, in "
        "place of the recommended edit: mean of several seeds, with lines from lowest to highest. If it "
        "forgot as much at as little damage, the size of the change would do it, not its content.\n\n"
        "The damage stands on a square-root scale, so that the small damages, among which one chooses, lie "
        "apart. The mouse tells the numbers; a click picks a setting."
    ),
    "held": (
        "**How to read this.** The recommended setting is the best of many **on the concepts it was found "
        "on**, and luck is part of being the best. So the same setting, unchanged, is tried on concepts that "
        "took no part in the search. Their figures are the ones to quote. If they are worse than those it "
        "was found on, the difference is what choosing made look better; if they miss the rule, ask for "
        "somewhat more in the search than you need in the end, or search on more concepts."
    ),
    "table": (
        "**How to read this.** One row per setting. “Forget” is the mean score of what was erased, “retain” "
        "that of the others, each with the base model's; “lost” and “damage” are the differences. “Worst "
        "forget” is the erased concept that is remembered best, “worst damage” the greatest mean loss of the "
        "others over the erased concepts. Names that end in a measure are the same for that measure."
    ),
}

HELP: dict[str, str] = {
    "forget": "What the erased concepts lose at least. Of the settings that do, the least damaging wins.",
    "damage": "What the others may lose at most. Of all settings that keep it, the most forgetful wins.",
    "together": "Erase all of them in one edit, instead of one at a time with the mean over them.",
    "count": "The strength is searched on so many concepts; the others are left to try it on.",
    "draw": "The same seed draws the same concepts, and the same others to ask.",
    "strengths": "How many times an engram is subtracted. None named: those in grey.",
    "among": "Which layers the edit acts on: all, attention, MLP, one kind of projection, or one block.",
    "beside": "Concepts that are not erased and are asked as well, drawn once: the damage is theirs.",
    "measure": (
        "Exact: the share of answers that come token for token. Unseen: on phrasings that were not recorded. "
        "NLL: how surprising the right answer has become, in nats per token; it moves before answers do."
    ),
    "tried": "Measures the recommended setting on concepts that took no part in the search.",
}

MEASURE_NAMES: dict[str, str] = {
    "score": "exact answers, all questions", "recorded": "exact answers, recorded questions",
    "unseen": "exact answers, unseen phrasings", "nll": "NLL of the answers",
    "nll_unseen": "NLL, unseen phrasings",
}  # fmt: skip


def duration(seconds: float) -> str:
    """Say a time in round numbers, as one that is only expected should be."""
    if seconds < 1.5:
        return "a second"
    if seconds < 10:
        return f"{seconds:.0f} s"
    if seconds < 90:
        return f"{5 * math.ceil(seconds / 5)} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} hours"


def _few(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most + 1 else ""
    return ", ".join(names[:most] if more else names) + more


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'s' if number != 1 else ''}"


def say_plan(plan: Plan) -> str:
    """Say in a sentence what is searched."""
    sharp = [f"{one.power:g}{' capped' if one.clip else ''}" for one in plan.filters]
    groups = [name if name != "all" else "all layers" for name, _ in plan.groups]
    how = "erased together" if plan.together else "erased one at a time"
    drawn = f", drawn with seed {plan.seed}" if plan.drawn else ""
    return (
        f"{_count(plan.settings, 'setting')}: strength {_few([f'{s:g}' for s in plan.strengths], 12)}; "
        f"{' and '.join(plan.scalings)} scaling; selectivity {_few(sharp)}; {_few(groups)}. "
        f"On {_count(len(plan.concepts), 'concept')} {how}{drawn}: {_few(plan.concepts)}. "
        f"{_count(plan.others, 'other')} asked with each{'' if plan.drawn else f' (seed {plan.seed})'}."
    )


def value_of(value: float, rule: Rule) -> str:
    """Write a mean of the rule's measure."""
    if math.isnan(value):
        return "–"
    return f"{value:.2f} nats" if rule.is_loss else f"{value:.1%}"


def _gap(value: float, rule: Rule) -> str:
    if math.isnan(value):
        return "nothing known"
    text = f"{value:.2f}" if rule.is_loss else f"{100 * value:.1f}"
    return f"{text} {rule.bound_unit}".replace("-", "−")


def _columns(rule: Rule) -> tuple[str, str]:
    tail = "" if rule.measure == "score" else f"_{rule.measure}"
    return f"lost{tail}", f"damage{tail}"


def say_recommended(
    figures: Mapping[str, float], setting: Mapping[str, Any], rule: Rule, plan: Plan, tried: int
) -> str:
    """Say what the figure shows, in a sentence."""
    lost, damage = _columns(rule)
    edge = ""
    if setting["strength"] == plan.strengths[-1] and len(plan.strengths) > 1:
        edge = " It is the strongest that was tried: stronger ones may be better still."
    return (
        f"Recommended: {setting_in_words(setting)}. Forgotten {_gap(figures[lost], rule)}, damage "
        f"{_gap(figures[damage], rule)}; the best of {tried} settings by the rule "
        f"“{say_rule(rule)}”.{edge}"
    )


def say_rule(rule: Rule) -> str:
    """Say the rule by which a strength is chosen."""
    if rule.kind == FORGET:
        return f"forget at least {rule.bound:g} {rule.bound_unit}, at the least damage"
    return f"damage at most {rule.bound:g} {rule.bound_unit}, and forget the most"


def say_nearest(near: Mapping[str, Any] | None, rule: Rule, tried: int) -> str:
    """Say that no setting keeps the rule, and which one comes nearest."""
    if near is None:
        return "Nothing was measured that this rule could be held against. Choose another measure."
    lost, damage = _columns(rule)
    return (
        f"None of the {tried} settings keeps the rule “{say_rule(rule)}”. The nearest: "
        f"{setting_in_words(near)}, which forgets {_gap(near[lost], rule)} at a damage of "
        f"{_gap(near[damage], rule)}. Try other strengths, selectivity or layers, or ask for less."
    )


def say_control(control: pd.DataFrame, figures: Mapping[str, float], rule: Rule) -> str:
    """Say what the control does beside the recommended setting."""
    lost, damage = _columns(rule)
    mine = figures[lost] - figures[damage]
    sham = float((control[lost] - control[damage]).mean())
    return (
        f" Forgotten beyond the damage: {_gap(mine, rule)} with the recommended "
        f"edit, and {_gap(sham, rule)} with a random change of the same size."
    )


def say_confirmed(confirmed: pd.DataFrame, figures: Mapping[str, float], rule: Rule, plan: Plan) -> str:
    """Say what trying the setting on others means for the rule."""
    lost, damage = _columns(rule)
    there, cost = float(confirmed[lost].mean()), float(confirmed[damage].mean())
    bound = next(iter(rule.options.values()))
    kept = there >= bound - 1e-9 if rule.kind == FORGET else cost <= bound + 1e-9
    less, more = figures[lost] - there, cost - figures[damage]
    small = 0.1 if rule.is_loss else 0.01
    if less <= small and more <= small:
        means = "It holds up: no worse than where it was found."
    else:
        means = (
            f"It does worse than where it was found, by {_gap(max(less, 0.0), rule)} of forgetting "
            f"and {_gap(max(more, 0.0), rule)} of damage: the best of many is partly luck, and "
            "other concepts may be harder."
        )
    verdict = (
        "The rule is kept there too."
        if kept
        else "The rule is not kept there: ask for more in the search, or search on more concepts."
    )
    return (
        f"On {_sets(len(confirmed), plan)} that took no part, {_gap(there, rule)} are forgotten at a damage "
        f"of {_gap(cost, rule)} (found on {_sets(len(plan.targets), plan)}: {_gap(figures[lost], rule)} and "
        f"{_gap(figures[damage], rule)}). {means} {verdict}"
    )


def _sets(number: int, plan: Plan) -> str:
    return (
        _count(number, "concept")
        if not plan.together
        else _count(number, "set") + f" of {len(plan.targets[0])}"
    )


def say_table(tried: int, whole: int) -> str:
    """Say how much of the search the table holds."""
    return f"All {tried} settings." if tried == whole else f"{tried} of {whole} settings so far."
