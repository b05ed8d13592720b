"""What the experiments of the tour come to: a sentence each, from the numbers."""

from __future__ import annotations

import pandas as pd

from .as_text import Markdown, filled
from .experiment_table import (
    agreement,
    before_after,
    dial,
    ends_of,
    loudness,
    mean_of,
    noise_of,
    of,
    others_of,
    subject_of,
)

__all__ = [
    "bold_score",
    "say_control",
    "say_engram",
    "say_language",
    "say_limits",
    "say_necessity",
    "say_neighbours",
    "say_reactivation",
    "say_specificity",
    "say_strength",
    "say_sufficiency",
]

_POINT = 0.01  # a change that counts as one
_KEPT = 0.05  # a gap that counts as none


def bold_score(right: int, total: int) -> Markdown:
    """Say how many predictions were right."""
    return f"You predicted **{right} of {total}** right."


def say_engram(table: pd.DataFrame) -> Markdown:
    """Say what the filter leaves of the rows of either concept."""
    kept = of(table, "filter of A", "length kept")
    return filled(
        "The filter of A leaves {} of the length of A's own rows and {} of the length of B's.",
        f"{kept['A']:.1%}", f"{kept['B']:.1%}",
    )  # fmt: skip


def say_reactivation(table: pd.DataFrame) -> Markdown:
    """Say how alike the layer's answer and the engram's are."""
    cosine, size = agreement(table)
    return filled(
        "The two rows of numbers have a cosine of {} (1 is the same direction), and the engram's are {} "
        "as large as the layer's.",
        f"{cosine:.2f}", f"{size:.0%}",
    )  # fmt: skip


def say_specificity(table: pd.DataFrame, concept: str = "7") -> Markdown:
    """Say how loud every layer's part is on its own concept and on the others."""
    said = [
        filled("{}: {} on {}, {} on the others", layer, f"{values[concept]:.0%}", concept,
               f"{mean_of(values, others_of(values, concept)):.0%}")
        for layer, values in loudness(table).items()
    ]  # fmt: skip
    return "Mean loudness, 100% being the layer itself. " + "; ".join(said) + "."


def say_necessity(table: pd.DataFrame) -> Markdown:
    """Say what is lost, what the others lose, and what the erased is taken for."""
    concept, before, after, others = before_after(table)
    low, _ = ends_of({name: after[name] - before[name] for name in others}, others)
    text = filled(
        "Accuracy on {}: {} → {}. On the other {}: {} → {} on average; most is lost by {} ({} → {}).",
        concept, f"{before[concept]:.1%}", f"{after[concept]:.1%}", len(others),
        f"{mean_of(before, others):.1%}",
        f"{mean_of(after, others):.1%}", low, f"{before[low]:.1%}", f"{after[low]:.1%}",
    )  # fmt: skip
    called = of(table, f"{concept} erased", f"answers to {concept}")
    _, most = ends_of(called, called)
    return text + filled(
        " Inputs of {} are now called {} most often ({}).", concept, most, f"{called[most]:.0%}"
    )


def say_sufficiency(table: pd.DataFrame) -> Markdown:
    """Say how often the network of one concept gives its name, to it and to all others."""
    concept = subject_of(table, " alone")
    share = of(table, f"{concept} alone", f"share called {concept}")
    others = others_of(share, concept)
    gap = share[concept] - mean_of(share, others)
    meaning = (
        "It says so to nearly everything: it no longer tells its concept from the rest, and the first "
        "number is hollow."
        if gap < _KEPT
        else "The gap between the two is what it really knows."
    )  # fmt: skip
    return filled(
        "Held alone, the network calls {} of the inputs of {} by that name, and {} of all others. ",
        f"{share[concept]:.1%}", concept, f"{mean_of(share, others):.1%}",
    ) + meaning  # fmt: skip


def say_control(table: pd.DataFrame) -> Markdown:
    """Say what random changes of the same size do to the concept and to the others, beside the engram."""
    concept, before, after, others = before_after(table)
    noise = noise_of(table)["mean"]
    low, high = ends_of(noise, others)
    return filled(
        "Random changes take {} from {} to {}, and the others from {} to {} on average, between {} ({}) and "
        "{} ({}). The engram leaves the others at {}.",
        concept, f"{before[concept]:.1%}", f"{noise[concept]:.1%}", f"{mean_of(before, others):.1%}",
        f"{mean_of(noise, others):.1%}", f"{noise[low]:.1%}", low, f"{noise[high]:.1%}", high,
        f"{mean_of(after, others):.1%}",
    )  # fmt: skip


def say_strength(table: pd.DataFrame) -> Markdown:
    """Say what a quarter, a half and the whole strength leave."""
    concept, left, others = dial(table)
    top = max(left)
    return filled(
        "Accuracy on {}: {} untouched, {} at strength 0.25, {} at 0.5, {} at 1. The others stand at {} at "
        "strength 1 and at {} at {}.",
        concept, f"{left[0.0]:.1%}", f"{left[0.25]:.1%}", f"{left[0.5]:.1%}", f"{left[1.0]:.1%}",
        f"{others[1.0]:.1%}", f"{others[top]:.1%}", f"{top:g}",
    )  # fmt: skip


def _points(change: float) -> str:
    return f"{100 * change:+.1f}".replace("-", "−")


def say_neighbours(table: pd.DataFrame) -> Markdown:
    """Say which of the others lose and which gain."""
    concept, before, after, others = before_after(table)
    change = {name: after[name] - before[name] for name in others}
    lose = sorted((name for name in others if change[name] <= -_POINT), key=lambda name: change[name])
    gain = sorted((name for name in others if change[name] >= _POINT), key=lambda name: -change[name])
    said = []
    for names, verb in ((lose, "lose"), (gain, "gain")):
        few = [f"{name} ({_points(change[name])} points)" for name in names[:4]]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        said.append(f"{', '.join(few)}{more} {verb}{'s' if len(names) == 1 else ''}" if names else "")
    both = " and ".join(part for part in said if part) or "none of the others changes by a point or more"
    return filled(
        "{} itself: {} → {}. {}.", concept, f"{before[concept]:.1%}", f"{after[concept]:.1%}",
        both[:1].upper() + both[1:],
    )  # fmt: skip


def say_language(table: pd.DataFrame) -> Markdown:
    """Say what is left of an author that is erased, and of one that is kept alone."""
    concept = subject_of(table, " alone")
    erased, alone = of(table, f"{concept} erased"), of(table, f"{concept} alone")
    others = others_of(erased, concept)
    return filled(
        "Isolated, {} of the facts about {} are answered. Erased, {} are, and {} of those about {} other "
        "authors.",
        f"{alone[concept]:.0%}", concept, f"{erased[concept]:.0%}", f"{mean_of(erased, others):.0%}",
        len(others),
    )  # fmt: skip


def say_limits(table: pd.DataFrame) -> Markdown:
    """Say how many inputs the reader finds in the edited network, and in the base."""
    concept = subject_of(table, " erased")
    base, edited = (of(table, edit, "found by a reader") for edit in ("base", f"{concept} erased"))
    return filled(
        "In the edited network the reader finds {} of the held-out inputs of {}, in the base {}. It takes {} "
        "of the others for one.",
        f"{edited[concept]:.1%}", concept, f"{base[concept]:.1%}", f"{edited['the others']:.1%}",
    )  # fmt: skip
