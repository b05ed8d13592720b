"""A sample: a trained model with its concepts, how its outputs are scored, and what its files say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .features import Features
from .tasks import Subject

__all__ = ["Sample"]


@dataclass(frozen=True)
class Sample(Subject):
    """A trained sample model with its concepts, its scores and its story.

    Attributes:
        name: the name :func:`load_sample` knows it by; also the name of its folder.
        title: a few words for a heading.
        summary: one sentence.
        card: Markdown text: data, licence, training, accuracy, what to look at, limits.
        metrics: what was measured when the model was trained (``metrics.json``).
        config: what the model was built from (``config.json``).
        image_shape: (height, width) of one input in pixels; None if inputs are no images.
        value_range: lowest and highest value a pixel can take; None if inputs are no images.
        folder: where its files lie.
        features: what the numbers of one input are; None if inputs are no rows of a table.
    """

    name: str
    title: str
    summary: str
    card: str
    metrics: dict[str, Any]
    config: dict[str, Any]
    image_shape: tuple[int, int] | None
    value_range: tuple[float, float] | None
    folder: Path
    features: Features | None = None
