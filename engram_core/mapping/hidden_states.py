"""What one layer reads of single inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..atlas import Atlas
from ..errors import CoverageError, NonFiniteError
from ..models.linear_maps.linear import LinearMap
from ..numerics.precision import exactly
from .inputs import MapInputs, listen, owners_of

__all__ = ["HiddenStates", "hidden_states"]


@dataclass(frozen=True)
class HiddenStates:
    """What one layer reads of single inputs.

    Attributes:
        values: (inputs, width): the mean over the counted positions; for a convolution the whole input.
        layer: its name.
        inputs: what was run.
    """

    values: np.ndarray
    layer: str
    inputs: MapInputs

    @property
    def matrix(self) -> np.ndarray:
        """The states as features, (inputs, width)."""
        return self.values


@exactly
def hidden_states(model: nn.Module, atlas: Atlas, inputs: MapInputs, layer: str) -> HiddenStates:
    """Return what one layer reads of every input, in the base or in an edited view.

    Args:
        model: the base, or an edited view of it.
        atlas: knows the layer.
        inputs: from `draw_inputs`.
        layer: its name.

    Raises:
        UnknownNameError: if there is no such layer.
        CoverageError: for a fused expert, which does not read every input.
        NonFiniteError: if the states are NaN or infinite.
    """
    linear_map = atlas.linear_map(layer)
    if linear_map.routed:
        raise CoverageError(f"Layer {layer!r} is a fused expert and reads only what is routed to it.")
    sums: Tensor | None = None
    counts = torch.zeros(len(inputs), 1, dtype=torch.float64)

    def hear(linear_map: LinearMap, x: Tensor, owner: Tensor) -> None:
        nonlocal sums
        if linear_map.whole:
            # One row per input: the whole of what it puts in.
            count = linear_map.positions(x)[0]
            rows, owners = x.reshape(count, -1), owner.reshape(count, -1).amax(1)
        else:
            rows, owners = linear_map.rows(x)[0], owners_of(linear_map, x, owner)
        used = owners >= 0
        rows, owners = rows[used].double().cpu(), owners[used].cpu()
        if sums is None:
            sums = torch.zeros(len(inputs), rows.shape[-1], dtype=torch.float64)
        sums.index_add_(0, owners, rows)
        counts.index_add_(0, owners, torch.ones(len(owners), 1, dtype=torch.float64))

    listen(model, inputs, [linear_map], hear)
    if sums is None:
        raise CoverageError(f"Layer {layer!r} was not reached by any of the inputs.")
    values = (sums / counts.clamp(min=1)).numpy()
    if not np.isfinite(values).all():
        raise NonFiniteError(
            f"Layer {layer!r} reads NaN or infinity for some inputs of the map. If the model is "
            "edited, a lower strength may keep its activations finite."
        )
    return HiddenStates(values, layer, inputs)
