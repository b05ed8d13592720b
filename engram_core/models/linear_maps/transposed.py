"""Transposed convolutions: every position of the input stamps a kernel's worth of values onto the output."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from .conv import check_pictures
from .linear import LinearMap

__all__ = ["TransposedConvMap", "transposed_conv_map"]


@dataclass(frozen=True)
class TransposedConvMap(LinearMap):
    """A transposed convolution of one, two or three dimensions.

    Its rows are the positions of its input, its map ``x → W x`` is from the channels of one position to the
    stamp it leaves, ``(out_channels / groups) · kernel`` values per group. Stride, padding and output padding
    only say where the stamps are laid and summed. The bias is added once per place of the sum and not once
    per stamp, so it belongs to no row: the map is without a bias, and edits leave the bias as it is.

    Attributes:
        kernel: size of the kernel along every axis.
    """

    kernel: tuple[int, ...] = (1, 1)

    dense_only = True
    whole = True

    @property
    def row_key(self) -> tuple:
        """Every position is a row, whatever the kernel."""
        return ("channels", self.columns, self.groups, len(self.kernel))

    def _batched(self, x: Tensor) -> Tensor:
        return check_pictures(self, x, self.columns * self.groups, len(self.kernel))

    def rows(self, x: Tensor) -> Tensor:
        """Return the positions of `x` (inputs, channels, …) or (channels, …): (groups, rows, columns).

        Args:
            x: what the layer reads.
        """
        x = self._batched(x)
        parts = x.reshape(x.shape[0], self.groups, self.columns, -1)
        return parts.permute(1, 0, 3, 2).reshape(self.groups, -1, self.columns)

    def positions(self, x: Tensor) -> tuple[int, ...]:
        """Return (inputs, positions).

        Args:
            x: what the layer reads.
        """
        x = self._batched(x)
        return (x.shape[0], math.prod(x.shape[2:]))

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        # (channels, outputs / groups, kernel): a group's channels lie together.
        return weight.reshape(self.groups, self.columns, -1).mT

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        channels = self.groups * self.columns
        stamps = self.outputs // self.groups // math.prod(self.kernel)
        return matrix.mT.reshape(channels, stamps, *self.kernel)


def transposed_conv_map(label: str, path: str, module: nn.Module) -> TransposedConvMap:
    """Return the linear map of a ``ConvTranspose1d``, ``ConvTranspose2d`` or ``ConvTranspose3d``.

    Args:
        label: public name of the layer.
        path: of the module in the model.
        module: the layer.
    """
    assert isinstance(module, nn.modules.conv._ConvTransposeNd)
    kernel = tuple(module.kernel_size)
    kind = f"ConvTranspose{len(kernel)}d"
    return TransposedConvMap(
        label, path, kind if module.groups == 1 else f"{kind} (grouped)",
        module.out_channels * math.prod(kernel), module.in_channels // module.groups, False,
        module.groups, kernel=kernel,
    )  # fmt: skip
