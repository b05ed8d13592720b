r"""Names of concepts as they are typed: any name can be chosen, whatever it holds.

A name is first looked for as it stands. Only then is ``NAME=STRENGTH`` read as a strength, and a comma as the
end of a name; ``\,`` is a comma in a name. Before a name that begins with a dash stands ``--``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

from ..errors import EngramError, suggest

__all__ = ["concept_strengths", "known_name", "names_in"]


def concept_strengths(terms: Iterable[str], default: float, known: Collection[str]) -> dict[str, float]:
    """Read concepts given as NAME or NAME=STRENGTH.

    Args:
        terms: as typed.
        default: strength of those without one.
        known: every concept there is.

    Returns:
        The strength of each named concept.

    Raises:
        UnknownNameError: naming the nearest.
        EngramError: for a strength that is no number, or two of one concept.
    """
    found: dict[str, float] = {}
    for term in terms:
        name, strength = _strength(term, default, known)
        if name in found and found[name] != strength:
            raise EngramError(f"Concept {name!r} is given two strengths; give it one.")
        found[name] = strength
    return found


def known_name(term: str, known: Collection[str]) -> str | None:
    """Return the name that was typed, or the one that looks the same; None if there is neither.

    A keyboard gives "é" as one character, and many file systems as two.
    """
    if term in known:
        return term
    composed = unicodedata.normalize("NFC", term)
    alike = [name for name in known if unicodedata.normalize("NFC", name) == composed]
    return alike[0] if len(alike) == 1 else None


def _strength(term: str, default: float, known: Collection[str]) -> tuple[str, float]:
    whole = known_name(term, known)
    if whole is not None:
        return whole, default
    typed, equals, value = term.rpartition("=")
    if not equals:
        raise suggest("concept", term, known)
    name = known_name(typed, known)
    try:
        strength = float(value)
    except ValueError:
        if name is None:
            raise suggest("concept", term, known) from None
        raise EngramError(f"{term!r}: the strength after = must be a number.") from None
    if name is None:
        raise suggest("concept", typed, known)
    return name, strength


def names_in(texts: Iterable[str] | str, known: Collection[str]) -> list[str]:
    """Return the names in comma-separated lists; a name with commas is found as the longest that is known.

    Args:
        texts: one list, or one for every time the option was given.
        known: every name there is.

    Raises:
        UnknownNameError: naming the nearest.
    """
    names: dict[str, None] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        whole = known_name(text, known)
        if whole is not None:
            names[whole] = None
            continue
        parts = _split(text)
        start = 0
        while start < len(parts):
            for stop in range(len(parts), start, -1):
                joined = ",".join(parts[start:stop])
                name = known_name(joined, known) or known_name(joined.strip(), known)
                if name is not None:
                    names[name] = None
                    break
            else:
                stop = start + 1
                if parts[start].strip():
                    raise suggest("concept", parts[start].strip(), known)
            start = stop
    return list(names)


def _split(text: str) -> list[str]:
    r"""Split at commas; ``\,`` is one that stays, and ``\\`` a backslash before a comma."""
    parts, held = [""], False
    for character in text:
        if held:
            parts[-1] += character if character in ",\\" else "\\" + character
            held = False
        elif character == "\\":
            held = True
        elif character == ",":
            parts.append("")
        else:
            parts[-1] += character
    parts[-1] += "\\" * held
    return parts
