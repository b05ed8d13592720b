"""Two continuations of one prompt, compared word by word, and what that comes to in a sentence."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

__all__ = ["changed_spans", "say_texts"]

# A word, with the signs inside it, or signs alone: “baker.s” begins with the word of “baker....”.
_PIECE = re.compile(r"\w+(?:['’\-]\w+)*|[^\w\s]+")


def _pieces(text: str) -> list[str]:
    return _PIECE.findall(text)


def _is_word(piece: str) -> bool:
    return piece[0].isalnum() or piece[0] == "_"


def _changed(before: list[str], after: list[str]) -> list[tuple[int, int]]:
    """Return which pieces of `after` are not those of `before` at their place, as ranges of numbers."""
    found = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [(start, end) for kind, _, _, start, end in found if kind in ("replace", "insert")]


def changed_spans(base: str, edited: str, *, done: bool) -> list[tuple[int, int]]:
    """Return where `edited` has words or signs that the base's continuation does not have at their place.

    Args:
        base: continuation of the base model.
        edited: that of the edited model.
        done: whether both have ended; the last word of one that has not may be half of one.

    Returns:
        Ranges of characters of `edited`, in order.
    """
    spans = [found.span() for found in _PIECE.finditer(edited)]
    ranges = []
    for start, end in _changed(_pieces(base), _pieces(edited)):
        end = end if done or end < len(spans) else end - 1
        if start < end:
            ranges.append((spans[start][0], spans[end - 1][1]))
    return ranges


def say_texts(base: str, edited: str) -> str:
    """Say in a sentence how far two continuations agree, word by word."""
    before, after = _pieces(base), _pieces(edited)
    if before == after:
        return "Both go on with the same words." if after else "Neither model adds a word."
    words, other = ([piece for piece in pieces if _is_word(piece)] for pieces in (after, before))
    if words == other:
        return "Both go on with the same words; only other signs stand between them."
    if not set(map(str.casefold, words)) & set(map(str.casefold, other)):
        if words and other:
            return "The two continuations have no word in common."
        return f"The {'edited' if other else 'base'} model adds no word."
    ranges = _changed(other, words)
    count = sum(end - start for start, end in ranges)
    if not count:
        left = len(other) - len(words)
        return f"The edited model leaves out {left} of the base's {len(other)} words and adds none."
    return (
        f"The continuations part at word {ranges[0][0] + 1}: {count} of the edited model's {len(words)} "
        f"words {'differs' if count == 1 else 'differ'}."
    )
