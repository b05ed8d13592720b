"""Which part of the Live page shows a model's inputs and outputs."""

from __future__ import annotations

from types import ModuleType

from ...server.base import Base
from . import images, text, values

__all__ = ["side_of"]


def side_of(base: Base) -> ModuleType:
    """Return the module that shows what a model reads and says: pictures, texts, or a table's values."""
    if base.is_text:
        return text
    return images if base.of_images else values
