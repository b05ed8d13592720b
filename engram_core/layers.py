"""Layers that hold memory: the rows each one reads, its matrix, and back; what is skipped and why.

A *slot* is one linear map ``z = W x`` that can hold engrams. Most are a module of their own; the four
maps of ``nn.MultiheadAttention`` are parts of one module. A slot speaks the homogeneous form of
SCIENCE.md section 1: with a bias, a row is ``[x; 1]`` and the matrix ``[W | b]``. Grouped convolutions
are a stack of `groups` independent maps; everything else is a stack of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .errors import CoverageError, DataError, suggest

__all__ = ["LayerInfo", "Slot", "find_slots", "list_layers", "select_layers"]

_QUANTISED = "quantised: its stored values are not the weights"
_PIECE_VALUES = 1 << 22  # patches made at once: 16 MB in float32, which the cache can still help with
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)


@dataclass(frozen=True)
class LayerInfo:
    """One line of the coverage list.

    Attributes:
        name: path of the layer in the model.
        kind: class of the layer.
        width: columns of its input rows, with the bias column; per group for grouped convolutions.
            None where the layer is not covered.
        outputs: rows of its matrix, over all groups; None where not covered.
        covered: whether engrams can live here.
        reason: why not, in words; empty if covered.
    """

    name: str
    kind: str
    width: int | None
    outputs: int | None
    covered: bool
    reason: str = ""


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


def _conv_padding(module: nn.Conv2d) -> tuple[int, int, int, int]:
    if module.padding == "valid":
        return (0, 0, 0, 0)
    if module.padding == "same":
        sides: list[int] = []
        for axis in (1, 0):  # F.pad takes the last dimension first
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        return tuple(sides)  # type: ignore[return-value]
    assert not isinstance(module.padding, str)
    height, width = module.padding
    return (int(width), int(width), int(height), int(height))


def _inherits(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether `module` computes exactly what `kind` computes."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _is_conv1d(module: nn.Module) -> bool:
    # By name, so that the core needs no transformers to know it.
    return any(
        base.__name__ == "Conv1D"
        and base.__module__ == "transformers.pytorch_utils"
        and type(module).forward is base.forward  # type: ignore[attr-defined]
        for base in type(module).__mro__
    )


def _slots_of(name: str, module: nn.Module) -> list[Slot] | None:
    """Return the slots of one module, or None if it is not of a covered kind."""
    label = name or type(module).__name__  # a bare layer given as the model has no path
    if type(module) is nn.MultiheadAttention:
        packed = module.in_proj_weight is not None
        size = module.embed_dim
        widths = {"q": size, "k": module.kdim, "v": module.vdim, "out": size}
        return [
            AttentionSlot(
                f"{name}.{part}_proj" if name else f"{part}_proj", name, "MultiheadAttention", size,
                int(width),
                bool((module.in_proj_bias if part != "out" else module.out_proj.bias) is not None),
                part=part, packed=packed,
            )
            for part, width in widths.items()
        ]  # fmt: skip
    if _is_conv1d(module):
        columns, outputs = module.weight.shape  # type: ignore[union-attr,misc]
        return [Conv1DSlot(label, name, "Conv1D", int(outputs), int(columns), True)]
    if _inherits(module, nn.Linear):
        outputs, columns = module.weight.shape  # type: ignore[union-attr,misc]
        return [Slot(label, name, "Linear", int(outputs), int(columns), module.bias is not None)]
    if _inherits(module, nn.Conv2d):
        assert isinstance(module, nn.Conv2d)
        columns = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
        kind = "Conv2d" if module.groups == 1 else "Conv2d (grouped)"
        return [
            Conv2dSlot(
                label, name, kind, module.out_channels, columns, module.bias is not None,
                module.groups, kernel=module.kernel_size, stride=module.stride,  # type: ignore[arg-type]
                dilation=module.dilation, padding=_conv_padding(module),  # type: ignore[arg-type]
                padding_mode=module.padding_mode,
            )
        ]  # fmt: skip
    return None


def _hides_weight(module: nn.Module) -> bool:
    """Whether a module without parameters still has a weight, in a packed or integer form."""
    weight = getattr(module, "weight", None)
    if callable(weight) and not isinstance(weight, nn.Module):
        return True
    return any("weight" in n and not b.is_floating_point() for n, b in module.named_buffers(recurse=False))


def _why_not(module: nn.Module) -> str:
    """Say why a module with parameters of its own holds no engram."""
    kind = type(module).__name__
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding: a table look-up, not a linear map of an activation"
    if isinstance(module, _NORMS) or "norm" in kind.casefold():
        return "normalisation: rescales, does not store"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "recurrent: its weights act inside one fused step"
    if isinstance(module, nn.modules.conv._ConvNd):
        return f"{kind}: only Conv2d is unfolded so far"
    if isinstance(module, nn.MultiheadAttention):
        return "a subclass of MultiheadAttention with code of its own"
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return f"{kind} replaces the forward pass of the layer it derives from"
    if any(not p.is_floating_point() for p in module.parameters(recurse=False)):
        return _QUANTISED
    if any(p.ndim == 3 for p in module.parameters(recurse=False)):
        return "three-dimensional parameters (fused experts, or bare parameters without a layer)"
    return f"{kind} is not a known linear map: its parameters stand bare in the module"


def _blocked(module: nn.Module, slots: Sequence[Slot], owners: dict[int, list[str]]) -> str:
    """Say why a module of a covered kind still cannot be edited; empty if it can."""
    if parametrize.is_parametrized(module):
        return "parametrised: its weight is computed from other parameters at every call"
    own = dict(module.named_parameters())
    for slot in slots:
        for attribute in slot.parameter_names()[:1]:
            weight = own.get(attribute)
            if weight is None:
                return "its weight is computed from other parameters at every call"
            if isinstance(weight, nn.parameter.UninitializedParameter):
                return "not initialised: run the model once first"
            if not weight.is_floating_point() or weight.element_size() < 2:
                return f"quantised: weights of type {weight.dtype} cannot be edited"
            if weight.is_meta:
                return "its weights are not loaded (meta device)"
            path = f"{slot.module}.{attribute}" if slot.module else attribute
            others = [owner for owner in owners.get(_address(weight), []) if owner != path]
            if others:
                other = others[0]
                return f"tied: shares its weight with {other!r}; an edit here would change that too"
    return ""


def _address(tensor: Tensor) -> int:
    # Two Parameter objects over one memory are tied as much as one object with two names.
    return id(tensor) if tensor.is_meta else tensor.data_ptr()


def _survey(model: nn.Module) -> tuple[list[LayerInfo], list[Slot]]:
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if not isinstance(parameter, nn.parameter.UninitializedParameter):
            owners.setdefault(_address(parameter), []).append(name)
    infos: list[LayerInfo] = []
    slots: list[Slot] = []
    inside_attention = ""
    for name, module in model.named_modules():
        if inside_attention and name.startswith(inside_attention):
            continue  # the out-projection is listed as a part of its attention
        if not any(True for _ in module.parameters(recurse=False)):
            if _hides_weight(module):
                kind = type(module).__name__
                infos.append(LayerInfo(name or kind, kind, None, None, False, _QUANTISED))
                continue
            if not parametrize.is_parametrized(module):
                continue
        label = name or type(module).__name__
        kind = type(module).__name__
        uninitialised = any(
            isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters(recurse=False)
        )
        if uninitialised:
            infos.append(LayerInfo(label, kind, None, None, False, "not initialised: run the model once"))
            continue
        found = _slots_of(name, module)
        reason = _blocked(module, found, owners) if found else _why_not(module)
        if found and not reason:
            if type(module) is nn.MultiheadAttention:
                inside_attention = name + "." if name else "out_proj"
            for slot in found:
                slots.append(slot)
                infos.append(LayerInfo(slot.name, slot.kind, slot.width, slot.outputs, True))
        else:
            infos.append(LayerInfo(label, kind, None, None, False, reason))
    return infos, slots


def list_layers(model: nn.Module) -> list[LayerInfo]:
    """List every layer that has parameters: covered, or why not.

    Returns:
        One entry per layer in the order of the module tree; the four maps of a
        ``nn.MultiheadAttention`` are four entries.
    """
    return _survey(model)[0]


def find_slots(model: nn.Module) -> list[Slot]:
    """Return every covered linear map of `model`.

    Raises:
        CoverageError: if there is none; the message says what was found instead.
    """
    infos, slots = _survey(model)
    if not slots:
        found = "; ".join(f"{i.name} ({i.kind}): {i.reason}" for i in infos[:6]) or "no layer with parameters"
        raise CoverageError(
            f"{type(model).__name__} has no layer that can hold an engram (Linear, Conv1D, Conv2d, "
            f"MultiheadAttention). Found: {found}."
        )
    return slots


def select_layers(
    names: Iterable[str], layers: str | Iterable[str] | None = None, blocks: Iterable[int] | None = None
) -> list[str]:
    """Choose layers the way PEFT does.

    Args:
        names: the names to choose from, in order.
        layers: None for all; a list of name suffixes (whole dotted parts); or a string, a regular
            expression that must match the full name.
        blocks: keep only layers whose first number in the path is one of these.

    Raises:
        UnknownNameError: if a suffix names no layer.
        CoverageError: if nothing is left, or the expression is malformed.
    """
    available = list(names)
    chosen = available
    if isinstance(layers, str):
        try:
            pattern = re.compile(layers)
        except re.error as error:
            message = f"The layer pattern {layers!r} is not a regular expression: {error}."
            raise CoverageError(message) from None
        chosen = [name for name in available if pattern.fullmatch(name)]
    elif layers is not None:
        wanted = list(layers)
        hits: set[str] = set()
        for suffix in wanted:
            match = [n for n in available if n == suffix or n.endswith("." + suffix)]
            if not match:
                raise suggest("layer", suffix, [*available, *{n.rpartition(".")[2] for n in available}])
            hits.update(match)
        chosen = [name for name in available if name in hits]
    if blocks is not None:
        numbers = set(blocks)
        chosen = [name for name in chosen if _block(name) in numbers]
    if not chosen:
        raise CoverageError(
            f"No covered layer matches layers={layers!r}, blocks={blocks!r}. "
            f"Covered: {', '.join(available[:12])}{' …' if len(available) > 12 else ''}."
        )
    return chosen


def _block(name: str) -> int | None:
    return next((int(part) for part in name.split(".") if part.isdigit()), None)
