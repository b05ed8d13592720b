"""The forms a linear map takes in a model: which rows it reads, its matrix, and back.

A *slot* is one linear map ``z = W x`` that can hold engrams. Most are a module of their own; the four
maps of ``nn.MultiheadAttention`` and the maps of fused experts (`experts`) are parts of one module. A slot
speaks the homogeneous form of SCIENCE.md section 1: with a bias, a row is ``[x; 1]`` and the matrix
``[W | b]``. Grouped convolutions are a stack of `groups` independent maps; everything else is a stack of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import DataError

__all__ = ["AttentionSlot", "Conv1DSlot", "Conv2dSlot", "Slot"]

_PIECE_VALUES = 1 << 22  # patches made at once: 16 MB in float32, which the cache can still help with


@dataclass(frozen=True)
class Slot:
    """One linear map of a model: a Linear layer.

    Attributes:
        name: public name.
        module: path of the module that owns the parameters.
        kind: for people.
        outputs: rows of the matrix over all groups.
        columns: columns of a row without the bias column, per group.
        bias: whether there is a bias column.
        groups: number of independent maps stacked.
    """

    name: str
    module: str
    kind: str
    outputs: int
    columns: int
    bias: bool
    groups: int = 1

    dense_only = False
    """Whether an edit must replace the weight: its forward cannot be reached by a hook."""

    routed = False
    """Whether its rows are those tokens that a router sends there, so that there may be none."""

    @property
    def width(self) -> int:
        """Columns of a row, with the bias column."""
        return self.columns + self.bias

    @property
    def port(self) -> str:
        """Path, in an opened view, of the module whose input this map reads."""
        return self.module

    @property
    def row_key(self) -> tuple:
        """Two slots with one key turn the same input tensor into the same rows."""
        return ("rows", self.columns)

    def rows(self, x: Tensor) -> Tensor:
        """Return the rows of input `x` (…, columns), shape (groups, rows, columns)."""
        if x.shape[-1] != self.columns:
            raise DataError(
                f"Layer {self.name!r} reads rows of {self.columns} values; found {x.shape[-1]} "
                f"in an input of shape {tuple(x.shape)}."
            )
        return x.reshape(1, -1, self.columns)

    def piece(self, x: Tensor) -> int:
        """Return how many inputs to turn into rows at once, so that memory stays bounded."""
        return max(1, x.shape[0]) if x.ndim else 1

    def positions(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape that indexes the rows of `x`: (inputs, …)."""
        return tuple(x.shape[:-1])

    def parameters(self, model: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Return the owning module's weight and bias parameters."""
        module = model.get_submodule(self.module)
        return module.weight, module.bias  # type: ignore[return-value]

    def parameter_names(self) -> tuple[str, str]:
        """Return the attribute names of weight and bias on the owning module."""
        return "weight", "bias"

    def matrix(self, model: nn.Module) -> Tensor:
        """Return ``[W | b]``, shape (groups, outputs / groups, width), in float32 or float64."""
        weight, bias = (None if p is None else p.detach() for p in self.parameters(model))
        assert weight is not None
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        matrix = self._weight_to_matrix(weight.to(dtype))
        if self.bias:
            assert bias is not None
            column = self._own(bias.to(dtype)).reshape(self.groups, -1, 1)
            matrix = torch.cat([matrix, column], -1)
        return matrix

    def split(self, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn a matrix (groups, outputs / groups, width) into weight- and bias-shaped tensors."""
        bias = matrix[..., -1].reshape(-1) if self.bias else None
        return self._matrix_to_weight(matrix[..., : self.columns]), bias

    def merge(self, model: nn.Module, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
        """Return the owning module's parameters with this slot's part replaced, by attribute name."""
        names = self.parameter_names()
        found = {names[0]: weight}
        if bias is not None:
            found[names[1]] = bias
        return found

    def open(self, view: nn.Module) -> None:
        """Make the port exist in `view`, a private copy, before an edit hooks it."""

    def hold(self, model: nn.Module, matrix: Tensor, *, own: bool) -> bool:
        """Take an edited matrix without replacing the parameters; False if this kind of slot cannot."""
        return False

    def release(self, view: nn.Module) -> bool:
        """Undo `hold`; False if there is nothing to undo."""
        return False

    def _own(self, tensor: Tensor) -> Tensor:
        """Return this slot's part of a parameter of the owning module."""
        return tensor

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return weight.reshape(1, self.outputs, self.columns)

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        return matrix.reshape(self.outputs, self.columns)


@dataclass(frozen=True)
class Conv1DSlot(Slot):
    """Hugging Face's ``Conv1D`` (GPT-2): a Linear layer with its weight transposed."""

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return weight.t().reshape(1, self.outputs, self.columns)

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        return matrix.reshape(self.outputs, self.columns).t().contiguous()


@dataclass(frozen=True)
class Conv2dSlot(Slot):
    """A 2-D convolution: its rows are the patches that the kernel meets.

    Attributes:
        kernel: height and width of the kernel.
        stride: step, vertical and horizontal.
        dilation: spacing of the kernel's taps.
        padding: left, right, top, bottom, as ``F.pad`` takes them.
        padding_mode: how the border is filled.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    padding_mode: str = "zeros"

    dense_only = True

    @property
    def row_key(self) -> tuple:
        """Convolutions share rows only if they cut the same patches."""
        return (
            "patches", self.columns, self.groups, self.kernel, self.stride, self.dilation,
            self.padding, self.padding_mode,
        )  # fmt: skip

    def _padded(self, x: Tensor) -> Tensor:
        channels = self.columns * self.groups // (self.kernel[0] * self.kernel[1])
        if x.ndim == 3:
            x = x.unsqueeze(0)
        if x.ndim != 4 or x.shape[1] != channels:
            raise DataError(
                f"Layer {self.name!r} reads images of shape (inputs, {channels}, height, width); "
                f"found {tuple(x.shape)}."
            )
        if any(self.padding):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self.padding, mode=mode)
        return x

    def rows(self, x: Tensor) -> Tensor:
        """Return the patches of `x` (inputs, channels, height, width): (groups, rows, columns)."""
        x = self._padded(x)
        count, channels = x.shape[:2]
        own = channels // self.groups
        tall, wide = self._places(x)
        across, along, down, right = x.stride()
        # One strided view of all patches, so that the rows are copied once: F.unfold would copy twice.
        patches = x.as_strided(
            (self.groups, count, tall, wide, own, *self.kernel),
            (
                own * along, across, self.stride[0] * down, self.stride[1] * right, along,
                self.dilation[0] * down, self.dilation[1] * right,
            ),
            x.storage_offset(),
        )  # fmt: skip
        return patches.reshape(self.groups, count * tall * wide, self.columns)

    def piece(self, x: Tensor) -> int:
        """Return how many inputs to unfold at once: patches repeat every pixel kernel-size times."""
        x = self._padded(x[:1] if x.ndim == 4 else x)
        tall, wide = self._places(x)
        return max(1, _PIECE_VALUES // (tall * wide * self.columns * self.groups))

    def positions(self, x: Tensor) -> tuple[int, ...]:
        """Return (inputs, places)."""
        x = self._padded(x)
        tall, wide = self._places(x)
        return (x.shape[0], tall * wide)

    def _places(self, padded: Tensor) -> tuple[int, int]:
        """Return how many patches lie above and beside each other."""
        tall, wide = (
            (padded.shape[2 + axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1) // self.stride[axis]
            + 1
            for axis in (0, 1)
        )
        return tall, wide

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return weight.reshape(self.groups, self.outputs // self.groups, self.columns)

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        height, width = self.kernel
        return matrix.reshape(self.outputs, self.columns // (height * width), height, width)


@dataclass(frozen=True)
class AttentionSlot(Slot):
    """One of the four maps of ``nn.MultiheadAttention``: q, k, v or out.

    Attributes:
        part: which of the four.
        packed: whether q, k and v share one parameter.
    """

    part: str = "out"
    packed: bool = True

    dense_only = True

    @property
    def port(self) -> str:
        """Return the port that `attention.open_attention` adds."""
        port = "out_proj" if self.part == "out" else f"{self.part}_port"
        return f"{self.module}.{port}" if self.module else port

    def parameters(self, model: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Return the parameters this map lives in (packed ones hold q, k and v)."""
        module = model.get_submodule(self.module)
        weight, bias = self.parameter_names()
        owner = module.out_proj if self.part == "out" else module
        return getattr(owner, weight.split(".")[-1]), getattr(owner, bias.split(".")[-1])

    def parameter_names(self) -> tuple[str, str]:
        """Return attribute paths of weight and bias relative to the owning module."""
        if self.part == "out":
            return "out_proj.weight", "out_proj.bias"
        return ("in_proj_weight" if self.packed else f"{self.part}_proj_weight"), "in_proj_bias"

    def merge(self, model: nn.Module, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
        """Write this map's rows into copies of the packed parameters as they are in `model` now."""
        found: dict[str, Tensor] = {}
        for name, new, old in zip(
            self.parameter_names(), (weight, bias), self.parameters(model), strict=True
        ):
            if new is None:
                continue
            assert old is not None
            if self.part == "out" or old.shape == new.shape:
                found[name] = new
            else:
                whole = old.detach().clone()
                self._own(whole).copy_(new)
                found[name] = whole
        return found

    def _own(self, tensor: Tensor) -> Tensor:
        if self.part == "out" or tensor.shape[0] == self.outputs:
            return tensor
        start = "qkv".index(self.part) * self.outputs
        return tensor[start : start + self.outputs]

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return self._own(weight).reshape(1, self.outputs, self.columns)
