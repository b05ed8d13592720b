"""Convolutions in any number of dimensions: their rows are the patches that the kernel meets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import DataError
from .linear import LinearMap

__all__ = ["ConvMap", "check_pictures", "conv_map"]

_PIECE_VALUES = 1 << 22  # patches made at once: 16 MB in float32, which the cache can still help with
_AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}


@dataclass(frozen=True)
class ConvMap(LinearMap):
    """A convolution of one, two or three dimensions.

    Attributes:
        kernel: size of the kernel along every axis.
        stride: step along every axis.
        dilation: spacing of the kernel's taps along every axis.
        padding: before and after, the last axis first, as ``F.pad`` takes them.
        padding_mode: how the border is filled.
    """

    kernel: tuple[int, ...] = (1, 1)
    stride: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    padding_mode: str = "zeros"

    dense_only = True
    whole = True

    @property
    def row_key(self) -> tuple:
        """Convolutions share rows only if they cut the same patches."""
        return (
            "patches", self.columns, self.groups, self.kernel, self.stride, self.dilation,
            self.padding, self.padding_mode,
        )  # fmt: skip

    def _padded(self, x: Tensor) -> Tensor:
        x = check_pictures(self, x, self.columns * self.groups // math.prod(self.kernel), len(self.kernel))
        if any(self.padding):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self.padding, mode=mode)
        return x

    def rows(self, x: Tensor) -> Tensor:
        """Return the patches of `x` (inputs, channels, …) or (channels, …): (groups, rows, columns).

        Args:
            x: what the layer reads.
        """
        x = self._padded(x)
        count, channels = x.shape[:2]
        per_group = channels // self.groups
        places = self._places(x)
        across, along, *steps = x.stride()
        # One strided view of all patches, so that the rows are copied once: F.unfold would copy twice.
        patches = x.as_strided(
            (self.groups, count, *places, per_group, *self.kernel),
            (
                per_group * along, across, *(s * step for s, step in zip(self.stride, steps, strict=True)),
                along,
                *(d * step for d, step in zip(self.dilation, steps, strict=True)),
            ),
            x.storage_offset(),
        )  # fmt: skip
        return patches.reshape(self.groups, count * math.prod(places), self.columns)

    def piece(self, x: Tensor) -> int:
        """Return how many inputs to unfold at once: patches repeat every value kernel-size times.

        Args:
            x: what the layer reads.
        """
        if x.ndim == len(self.kernel) + 1:
            return max(1, x.shape[0])  # a single input; its first axis is the channels
        places = self._places(self._padded(x[:1]))
        return max(1, _PIECE_VALUES // (math.prod(places) * self.columns * self.groups))

    def positions(self, x: Tensor) -> tuple[int, ...]:
        """Return (inputs, places).

        Args:
            x: what the layer reads.
        """
        x = self._padded(x)
        return (x.shape[0], math.prod(self._places(x)))

    def placed(self, owner: Tensor, x: Tensor) -> Tensor:
        """Return an owner per position as one per place of the kernel, where one step is one position.

        Sequence models pad a convolution to the left and right and drop what comes after the last position:
        those places are nobody's.

        Args:
            owner: (inputs,) or (inputs, positions).
            x: what the layer reads.
        """
        if len(self.kernel) > 1 or owner.ndim != 2 or x.ndim != 3 or owner.shape[1] != x.shape[2]:
            return owner
        more = self.positions(x)[1] - owner.shape[1]
        if self.stride != (1,) or more <= 0 or self.padding[0] != self.dilation[0] * (self.kernel[0] - 1):
            return owner
        return F.pad(owner, (0, more), value=-1)

    def _places(self, padded: Tensor) -> tuple[int, ...]:
        """Return how many patches lie along every axis."""
        return tuple(
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, dilation in zip(
                padded.shape[2:], self.kernel, self.stride, self.dilation, strict=True
            )
        )

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return weight.reshape(self.groups, self.outputs // self.groups, self.columns)

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        return matrix.reshape(self.outputs, self.columns // math.prod(self.kernel), *self.kernel)


def check_pictures(linear_map: LinearMap, x: Tensor, channels: int, axes: int) -> Tensor:
    """Return the input of a convolution with an axis of inputs, which a single one may lack.

    Args:
        linear_map: that of the convolution.
        x: (inputs, channels, …) or (channels, …).
        channels: how many it reads.
        axes: along how many it moves.

    Raises:
        DataError: if `x` has another shape.
    """
    batched = x.unsqueeze(0) if x.ndim == axes + 1 else x
    if batched.ndim != axes + 2 or batched.shape[1] != channels:
        what = "images" if axes == 2 else "inputs"
        raise DataError(
            f"Layer {linear_map.name!r} reads {what} of shape (inputs, {channels}, {_AXES[axes]}); "
            f"found {tuple(x.shape)}."
        )
    return batched


def _padding(module: nn.modules.conv._ConvNd) -> tuple[int, ...]:
    """Return what is put before and after every axis, the last axis first."""
    if module.padding == "valid":
        return (0, 0) * len(module.kernel_size)
    sides: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if module.padding == "same":
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [int(module.padding[axis])] * 2
    return tuple(sides)


def conv_map(label: str, path: str, module: nn.Module) -> ConvMap:
    """Return the linear map of a ``Conv1d``, ``Conv2d`` or ``Conv3d``.

    Args:
        label: public name of the layer.
        path: of the module in the model.
        module: the layer.
    """
    assert isinstance(module, nn.modules.conv._ConvNd)
    kind = f"Conv{len(module.kernel_size)}d"
    return ConvMap(
        label, path, kind if module.groups == 1 else f"{kind} (grouped)", module.out_channels,
        module.in_channels // module.groups * math.prod(module.kernel_size), module.bias is not None,
        module.groups, kernel=tuple(module.kernel_size), stride=tuple(module.stride),
        dilation=tuple(module.dilation), padding=_padding(module), padding_mode=module.padding_mode,
    )  # fmt: skip
