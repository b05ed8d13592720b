"""Names that are short enough for an axis and hold no HTML."""

from __future__ import annotations

from collections.abc import Sequence

from ..words.as_text import untagged

__all__ = ["label", "labels"]

_LONGEST = 24  # letters of a label; the whole name is in the hover text


def label(name: str) -> str:
    """Return a name that is short enough for an axis and holds no HTML."""
    short = name
    while len(short) > _LONGEST and "." in short and " " not in short:
        short = short.partition(".")[2]  # of a layer's path the end says more
    short = short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"
    return untagged(short)


def labels(names: Sequence[str]) -> list[str]:
    """Return short names; the start that all paths of layers share is left out."""
    if len(names) > 1 and not any(" " in name for name in names):
        parts = [name.split(".") for name in names]
        shared = 0
        while all(len(part) > shared + 1 and part[shared] == parts[0][shared] for part in parts):
            shared += 1
        names = [".".join(part[shared:]) for part in parts]
    return [label(name) for name in names]
