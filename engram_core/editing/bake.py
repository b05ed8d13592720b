"""An edit written into a module of its own."""

from __future__ import annotations

from torch import nn

from ..models.view import independent_copy
from ..progress import Progress
from .change import Change
from .weights import write_matrix

__all__ = ["baked"]


def baked(base: nn.Module, change: Change, *, progress: Progress | None = None) -> nn.Module:
    """Return a copy of the base with the edited weights: float32 arithmetic, rounded once.

    Args:
        base: the model.
        change: what is to be done.
        progress: called with (done, total, layer) after every layer.

    Raises:
        CoverageError: if an edited layer is quantised, so that no weight can be written into it.
    """
    for layer in change.layers:
        change.atlas.linear_map(layer).check_bake(base)
    model = independent_copy(base)
    for done, layer in enumerate(change.layers, start=1):
        write_matrix(model, change.atlas.linear_map(layer), change.matrix(layer), own=True)
        if progress is not None:
            progress(done, len(change.layers), layer)
    return model
