"""Errors for people: what was found, where, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConceptOutsideTotalError",
    "CoverageError",
    "DataError",
    "DependencyError",
    "EffectError",
    "EngramError",
    "LimitError",
    "ModelMismatchError",
    "NonFiniteError",
    "StorageError",
    "UnknownNameError",
    "suggest",
    "with_article",
]


class EngramError(ValueError):
    """Base of every error this library raises on purpose."""


class DataError(EngramError):
    """Inputs cannot be used: empty, too few, or of a shape that does not fit."""


class NonFiniteError(DataError):
    """NaN or infinity reached a layer, or stood in the inputs."""


class UnknownNameError(EngramError, KeyError):
    """A concept, layer or sample name that does not exist."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; people should read the sentence.
        return str(self.args[0])


class CoverageError(EngramError):
    """No layer of the model, or none of the chosen ones, can hold an engram."""


class ConceptOutsideTotalError(EngramError):
    """A target whose inputs are not part of the total: its engram would explode."""


class ModelMismatchError(EngramError):
    """A recording, atlas or edit meets a model it was not made from."""


class EffectError(EngramError):
    """An edit that does not reach the forward pass, or does something else there than it says."""


class DependencyError(EngramError):
    """Something this needs is not installed; the message says how to install it."""


class LimitError(EngramError):
    """What was tried in a process of its own took more time or memory than it may, or ended it."""


class StorageError(EngramError):
    """A file is missing, cut short, of another kind, or could not be written."""


def suggest(kind: str, name: object, options: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown name, with the nearest known ones.

    Args:
        kind: what the name should have been, e.g. ``"concept"``.
        name: what was given.
        options: the names that exist.

    Returns:
        The error, to be raised.
    """
    known = [str(option) for option in options]
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    if not near:
        folded = {option.casefold(): option for option in known}
        hits = difflib.get_close_matches(str(name).casefold(), list(folded), n=3, cutoff=0.5)
        near = [folded[hit] for hit in hits]
    if near:
        hint = "Did you mean " + " or ".join(repr(option) for option in near) + "?"
    elif not known:
        hint = f"There is no {kind} here at all."
    else:
        shown = ", ".join(repr(option) for option in known[:12])
        more = f" and {len(known) - 12} more" if len(known) > 12 else ""
        hint = f"Known: {shown}{more}."
    return UnknownNameError(f"Unknown {kind} {name!r}. {hint}")


def with_article(noun: str) -> str:
    """Return a noun with “a” or “an” before it, as it is read aloud."""
    return f"an {noun}" if noun[:1].casefold() in tuple("aeiou") else f"a {noun}"
