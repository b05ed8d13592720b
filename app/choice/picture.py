"""Which input is shown, as plain data, and what a visitor made as a text short enough for an address."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .choice import Facts, number, one_of

__all__ = ["DRAWABLE", "LEVELS", "Picture", "clean_picture", "decode", "encode", "values_of", "values_text"]

_LONGEST = 1200  # characters of a row's values; an address has room for no more
_LARGEST = 1e12

LEVELS = "0123456789abcdefg"
"""Seventeen levels of ink, as scikit-learn's digits have: one letter per pixel."""

DRAWABLE = (8, 8)
"""Height and width of the pictures that can be drawn; more pixels would not fit an address."""


@dataclass(frozen=True)
class Picture:
    """A held-out image of a concept, or a drawing.

    Attributes:
        concept: concept that the held-out image belongs to.
        number: its number among that concept's held-out ones, from 1.
        drawn: a drawing as text, or the values that somebody set (see `values_text`); "" for a held-out
            input.
    """

    concept: str
    number: int
    drawn: str = ""


def clean_picture(raw: Mapping[str, Any], facts: Facts, shape: tuple[int, ...] | None) -> Picture:
    """Return a picture that the model has, whatever was asked for."""
    concept = one_of(raw.get("class"), facts.classes, facts.classes[0])
    index = int(number(raw.get("image"), 1, facts.held_out[concept], 1))
    drawn = raw.get("drawn") or ""
    if facts.features:
        values = values_of(drawn if isinstance(drawn, str) else "", len(facts.features))
        return Picture(concept, index, drawn if values is not None else "")
    if not isinstance(drawn, str) or tuple(shape or ()) != DRAWABLE or not _whole(drawn):
        drawn = ""
    return Picture(concept, index, drawn)


def values_text(values: Sequence[float]) -> str:
    """Return a row of a table as text short enough for an address: five digits of each value."""
    return ",".join(f"{value:.5g}" for value in values)


def values_of(text: str, count: int) -> tuple[float, ...] | None:
    """Return the row of a table that a text holds; None if it holds none.

    Args:
        text: as of `values_text`; it may come from outside.
        count: how many values a row has.
    """
    parts = text.split(",")
    if len(text) > _LONGEST or len(parts) != count:
        return None
    values = tuple(number(part, -_LARGEST, _LARGEST, math.nan) for part in parts)
    return None if any(map(math.isnan, values)) else values


def _whole(drawn: str) -> bool:
    return len(drawn) == DRAWABLE[0] * DRAWABLE[1] and not set(drawn) - set(LEVELS) and set(drawn) != {"0"}


def decode(drawn: str, shape: tuple[int, int]) -> np.ndarray:
    """Return a drawing as (height, width) float32 in 0–1."""
    values = [LEVELS.index(letter) for letter in drawn]
    return (np.array(values, np.float32) / (len(LEVELS) - 1)).reshape(shape)


def encode(pixels: np.ndarray) -> str:
    """Return a drawing (height, width) in 0–1 as text."""
    steps = np.rint(np.clip(pixels, 0, 1) * (len(LEVELS) - 1)).astype(int)
    return "".join(LEVELS[step] for step in steps.ravel())
