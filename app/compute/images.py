"""Live, for classes: the input that is shown and what both models say to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..choice.picture import Picture
from ..server.base import Base
from .edited_view import Visitor
from .inputs import one_input

__all__ = ["Answer", "answer", "pixels"]

_MOST = 24  # outputs that fit one figure


@dataclass(frozen=True)
class Answer:
    """What base and edited model say to one input.

    Attributes:
        classes: names of the outputs; of very many, those that tell something.
        truth: the input's own class; None if nobody knows it, as for a drawing.
        pixels: the image, (height, width) or (height, width, 3), 0–1; None where inputs are no images.
        base: probability per class of the base model.
        edited: the same of the edited view.
    """

    classes: tuple[str, ...]
    truth: str | None
    pixels: np.ndarray | None
    base: np.ndarray
    edited: np.ndarray


def pixels(base: Base, picture: Picture) -> np.ndarray:
    """Return an image, (height, width) or (height, width, 3), scaled to 0–1."""
    low, high = base.sample.value_range or (0.0, 1.0)
    image = one_input(base, picture)[0].numpy().transpose(1, 2, 0)
    image = ((image - low) / (high - low)).clip(0.0, 1.0)
    return image[..., 0] if image.shape[-1] == 1 else image


def answer(base: Base, visitor: Visitor, picture: Picture) -> Answer:
    """Return what base and view say to an input."""
    inputs = one_input(base, picture)
    task = base.sample.task
    with visitor.view() as view:
        before, after = (
            task.probabilities(model, inputs)[0].double().numpy()  # type: ignore[attr-defined]
            for model in (base.sample.model, view)
        )
    truth = None if picture.drawn else picture.concept
    names = list(task.classes)  # type: ignore[attr-defined]
    if len(names) > _MOST:
        telling = _telling(names, before, after, truth)
        names, before, after = [names[i] for i in telling], before[telling], after[telling]
    shown = pixels(base, picture) if base.of_images else None
    return Answer(tuple(names), truth, shown, before, after)


def _telling(names: list[str], before: np.ndarray, after: np.ndarray, truth: str | None) -> list[int]:
    """Return the outputs to show of very many: the likeliest of both models, and the true one."""
    likely = [*np.argsort(-before)[:8], *np.argsort(-after)[:8]]
    found = dict.fromkeys(int(i) for i in likely)
    if truth is not None:
        found[names.index(truth)] = None
    return list(found)
