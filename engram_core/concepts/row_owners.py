"""Say for every row of every layer which concept it belongs to, whatever shape the layer reads.

A mask belongs to the positions of one argument of the model. Which layers read those positions, and along
which of their dimensions, is found out on the model (see `row_axes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import DataError
from .batch import Key
from .row_axes import Axis, RowAxes

__all__ = ["Owner", "spread_owner"]


@dataclass(frozen=True)
class Owner:
    """Which concept every input of a batch belongs to, and which positions count.

    Attributes:
        inputs: (inputs,) numbers of concepts, −1 for what does not count.
        positions: by argument, which of its positions count, (inputs, positions) bool.
        loose: which positions count that are no argument's but the model's own, or None.
        axes: what indexes the layers' rows; None if it was not found out.
        alone: whether the batch has nothing that the positions could be mistaken for.
        single: whether the batch is one input that is never divided; `loose` may then have any shape.
    """

    inputs: Tensor
    positions: Mapping[Key, Tensor] = field(default_factory=dict)
    loose: Tensor | None = None
    axes: RowAxes | None = None
    alone: bool = True
    single: bool = False

    def to(self, device: torch.device) -> Owner:
        """Return the owner on another device.

        Args:
            device: where to.
        """
        return replace(
            self,
            inputs=self.inputs.to(device),
            positions={k: m.to(device) for k, m in self.positions.items()},
            loose=None if self.loose is None else self.loose.to(device),
        )

    def counted(self) -> Tensor:
        """Return the owner of every input, −1 for one of which no position counts."""
        masks = [*self.positions.values(), *([] if self.loose is None else [self.loose])]
        if not masks:
            return self.inputs
        if self.single:
            return torch.where(torch.stack([m.any() for m in masks]).any(), self.inputs, -1)
        some = torch.stack([m.any(1) for m in masks]).any(0)
        return torch.where(some, self.inputs, -1)

    def tokens(self, layer: str, block: str, total: int) -> Tensor:
        """Return the owner of every token that a block of experts distributes, (total,).

        Args:
            layer: name of the expert.
            block: path of the block.
            total: number of tokens, padding included.

        Raises:
            DataError: if that cannot be known.
        """
        axes = None if self.axes is None else self.axes.blocks.get(block)
        if axes is None or self.single or self.loose is not None:
            return self.rows(layer, 0, (total,))
        return self._by_axes(layer, axes, (total,))

    def rows(self, layer: str, call: int, positions: tuple[int, ...], *, read: int | None = None) -> Tensor:
        """Return the owner of every row of a layer, in the shape that indexes its rows.

        Args:
            layer: its name.
            call: which of its calls in this pass, from 0.
            positions: what indexes its rows (see `LinearMap.positions`).
            read: of a convolution over positions, how many it reads: it may have more places, and the owner
                is then that of what it reads.

        Raises:
            DataError: if that cannot be known.
        """
        if self.single:
            if self.loose is None:
                return self.inputs[0].expand(positions)
            flat = torch.where(self.loose, self.inputs, -1)
            if tuple(flat.shape) != positions[: flat.ndim]:
                raise _cannot(layer, positions, f"the mask is indexed by {tuple(flat.shape)}")
            return spread_owner(flat, positions, layer).reshape(positions)
        if self.loose is not None:
            flat = torch.where(self.loose, self.inputs[:, None], -1)
            return spread_owner(flat, positions, layer).reshape(positions)
        axes = None if self.axes is None else self.axes.axes_of(layer, call, len(positions))
        blind = set(self.positions) & (set() if self.axes is None else self.axes.blind)
        if axes is None or (blind and self.alone):
            return self._by_shape(layer, positions)
        if blind:
            why = "the model runs with no other number of them"
            raise _cannot(
                layer, positions, f"which layers read the positions of {_said(blind)} is not known: {why}"
            )
        if read is not None and len(axes) == 2 and axes[1].of:
            positions = (positions[0], read)
        return self._by_axes(layer, axes, positions)

    def _by_shape(self, layer: str, positions: tuple[int, ...]) -> Tensor:
        """Match by shape where there is nothing else of that shape."""
        if not self.positions:
            return spread_owner(self.inputs, positions, layer).reshape(positions)
        if not self.alone:
            raise _cannot(
                layer,
                positions,
                f"it is not known whether those are the positions of {_said(self.positions)}",
            )
        mask = torch.stack(list(self.positions.values())).all(0)
        return spread_owner(torch.where(mask, self.inputs[:, None], -1), positions, layer).reshape(positions)

    def _by_axes(self, layer: str, axes: tuple[Axis, ...], positions: tuple[int, ...]) -> Tensor:
        inputs = len(self.inputs)
        number: Tensor | None = None
        places: list[tuple[Key, Tensor]] = []
        for dimension, (axis, size) in enumerate(zip(axes, positions, strict=True)):
            shape = [1] * len(positions)
            shape[dimension] = size
            steps = torch.arange(size, device=self.inputs.device).reshape(shape)
            lengths = {self.positions[k].shape[1] for k in axis.of}
            length = next(iter(lengths), 1)
            if axis.inputs:
                if axis.major is None or size % inputs or len(lengths) > 1:
                    raise _cannot(layer, positions, "the order of inputs and positions in them is not known")
                each = size // inputs
                number = steps // each if axis.major else steps % inputs
                steps = steps % each if axis.major else steps // inputs
                size = each
            if axis.of:
                if size != length or len(lengths) > 1:
                    raise _cannot(
                        layer,
                        positions,
                        f"{size} of them stand for the {length} positions of {_said(axis.of)}",
                    )
                places += [(key, steps) for key in axis.of]
        if number is None:
            return self._of_all(layer, positions)
        found = (self.inputs if places else self.counted())[number]
        for key, steps in places:
            found = torch.where(self.positions[key][number, steps], found, -1)
        return found.expand(positions)

    def _of_all(self, layer: str, positions: tuple[int, ...]) -> Tensor:
        """Give rows that no input has for itself, as those of a table, to the one concept there is."""
        names = self.inputs[self.inputs >= 0].unique()
        if len(names) > 1:
            raise _cannot(layer, positions, "no input of the batch has rows of its own there")
        return (names[0] if len(names) else torch.tensor(-1)).expand(positions)


def _said(keys: Iterator[Key] | frozenset[Key] | set[Key] | Mapping[Key, Tensor]) -> str:
    return " and ".join(sorted(f"argument {key!r}" for key in keys))


def _cannot(layer: str, positions: tuple[int, ...], why: str) -> DataError:
    return DataError(
        f"Layer {layer!r} has rows indexed by {positions}, and the mask or mix of concepts cannot be matched "
        f"to them: {why}. Leave the layer out (layers=…), or count every row (masks={{name: None}}, no mix)."
    )


def spread_owner(owner: Tensor, positions: tuple[int, ...], layer: str) -> Tensor:
    """Spread an owner per input or per position over the rows of a layer.

    Args:
        owner: (inputs,) or (inputs, positions), integers; −1 does not count.
        positions: what indexes the layer's rows, e.g. (inputs, positions).
        layer: name for error messages.

    Returns:
        One integer per row, flattened in the order of the rows.

    Raises:
        DataError: if the layer's rows cannot be matched to inputs and positions.
    """
    shape = tuple(owner.shape)
    if positions[: len(shape)] == shape:
        wanted = owner.reshape((*shape, *[1] * (len(positions) - len(shape))))
        return wanted.expand(positions).reshape(-1)
    if len(positions) == 1 and positions[0] == owner.numel():
        return owner.reshape(-1)  # positions flattened before the layer
    if len(shape) == 2 and positions == shape[:1]:
        # The positions were pooled before this layer: its one row per input counts if any position did.
        return spread_owner(owner.amax(1), positions, layer)
    raise DataError(
        f"Layer {layer!r} has rows indexed by {positions}, and the mask or mix of concepts is indexed by "
        f"{shape}: they cannot be matched. Leave the layer out, or record each concept without a mask "
        "(masks={name: None}; a batch's attention_mask is its mask otherwise)."
    )
