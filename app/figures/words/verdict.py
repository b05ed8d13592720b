"""What became of the right answer: known, forgotten, not known or learned; one definition for every page."""

from __future__ import annotations

from .as_text import Markdown

__all__ = ["DEFINITION", "FORGOTTEN", "KNOWN", "LEARNED", "NOT_KNOWN", "known_before", "verdict"]

KNOWN, FORGOTTEN, NOT_KNOWN, LEARNED = "known", "forgotten", "not known", "learned"

DEFINITION: Markdown = (
    "**Known**: the model answers right. **Forgotten**: the base answers right, and the edited model answers "
    "something else or gives the right answer less than half of the probability that the base gave it. "
    "**Not known**: the model never answered right. **Learned**: only the edited model answers right."
)


def known_before(right: bool) -> str:
    """Return the word for a base model that answers right, or does not."""
    return KNOWN if right else NOT_KNOWN


def verdict(before: float | None, after: float | None, *, right_before: bool, right_after: bool) -> str:
    """Return the word for an edited model.

    The likeliest answer alone is not asked: it may stay the right one after its probability has fallen from
    77% to 8%, because no other answer has become likelier.

    Args:
        before: the base model's probability of the right answer; None if nobody measured it.
        after: the edited model's.
        right_before: whether the base model answers right.
        right_after: whether the edited model does.
    """
    if not right_before:
        return LEARNED if right_after else NOT_KNOWN
    if not right_after or (before is not None and after is not None and after < before / 2):
        return FORGOTTEN
    return KNOWN
