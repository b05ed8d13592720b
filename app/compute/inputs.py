"""One input as a model reads it, and the numbers of a table's row as people read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..choice.picture import Picture, decode, values_of
from ..server.base import Base

__all__ = ["Reach", "answers_in_classes", "one_input", "reaches", "row_of"]

_STEPS = 200  # of a slider, from the least to the greatest value


@dataclass(frozen=True)
class Reach:
    """How far a feature goes in the data.

    Attributes:
        low: the least value, in the table's units.
        high: the greatest.
        step: by how much a slider moves.
    """

    low: float
    high: float
    step: float


def answers_in_classes(base: Base) -> bool:
    """Return whether the model gives one input a probability for each class."""
    return hasattr(base.sample.task, "probabilities")


def one_input(base: Base, picture: Picture) -> Any:
    """Return the input that is shown, as a set of one."""
    sample = base.sample
    if picture.drawn and sample.features is not None:
        values = values_of(picture.drawn, len(sample.features.names))
        return torch.from_numpy(sample.features.read(np.array([values])))
    if picture.drawn:
        low, high = sample.value_range or (0.0, 1.0)
        drawn = decode(picture.drawn, sample.image_shape)  # type: ignore[arg-type]
        return torch.from_numpy(drawn * (high - low) + low)[None, None]
    probe = sample.concepts[picture.concept].probe
    if isinstance(probe, Tensor):
        return probe[picture.number - 1 : picture.number]
    held = base.remembered.made(("held-out inputs",), sample.concepts.held_out)
    return held.singles([(picture.concept, picture.number - 1)])["0"].record


def row_of(base: Base, picture: Picture) -> tuple[float, ...]:
    """Return the values of the input that is shown, in the table's units; () if it is no row of a table."""
    features = base.sample.features
    if features is None:
        return ()
    values = features.shown(one_input(base, picture)[0].numpy())
    # A model reads single precision: further digits are nobody's measurement.
    return tuple(float(f"{value:.6g}") for value in values)


def reaches(base: Base) -> tuple[Reach, ...]:
    """Return how far each feature goes in all inputs, recorded and held out."""
    features = base.sample.features
    if features is None:
        return ()

    def found() -> tuple[Reach, ...]:
        parts: list[Any] = [
            part for each in base.sample.concepts.values() for part in (each.record, each.probe)
        ]
        values = features.shown(torch.cat([part for part in parts if part is not None]).numpy())
        whole = np.isclose(values, np.round(values)).all(0)
        return tuple(map(_reach, values.min(0), values.max(0), whole))

    return base.remembered.made(("reaches",), found)


def _reach(low: float, high: float, whole: bool) -> Reach:
    low, high = float(low), float(high)
    if high <= low:
        return Reach(low - 1.0, low + 1.0, 0.01)
    if whole:
        return Reach(float(round(low)), float(round(high)), 1.0)
    size = 10.0 ** np.floor(np.log10((high - low) / _STEPS))
    return Reach(float(np.floor(low / size) * size), float(np.ceil(high / size) * size), float(size))
