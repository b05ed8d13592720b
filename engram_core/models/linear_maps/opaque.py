"""Frozen quantised Linear layers: their stored values are not the weights, so the weight is never read.

An edit acts on what such a layer reads, ``x' = x − Σ s Fᵀ R x``, and the layer computes the rest in its own
arithmetic. What its map is for norms and tables is asked from the layer itself: its answers to the rows of an
identity, from which its answer to 0, the bias, is taken. Known by what they do, not by class: torch's dynamic
int8 Linear, bitsandbytes, torchao, GGUF-kept weights, and whatever else maps rows of numbers linearly.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CoverageError
from ..view import base_of, shared_copy, submodule
from .derived import filled, replace_forward, replacing_layer, restore_forward
from .linear import LinearMap

__all__ = [
    "OpaqueMap",
    "opaque_map",
    "why_opaque",
]

_CHUNK = 512  # rows of the identity at a time
_KEPT_BYTES = 256 << 20  # of matrices that were asked for
_LINEAR = 0.1  # arithmetic in 8 bits is off by a few percent; what is no linear map by far more
_READS = (torch.float32, torch.bfloat16, torch.float16)
_FAILS = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError)


@dataclass(frozen=True)
class _Facts:
    """What was found by running a layer: why it is no linear map (or empty), and what it reads."""

    reason: str
    reads: torch.dtype = torch.float32
    bias: bool = False


_facts: weakref.WeakKeyDictionary[nn.Module, _Facts] = weakref.WeakKeyDictionary()
# By module: its answer to one row, by which a change of it is noticed, and its matrix.
_matrices: OrderedDict[weakref.ref[nn.Module], tuple[Tensor, Tensor]] = OrderedDict()


@dataclass(frozen=True)
class OpaqueMap(LinearMap):
    """A Linear layer whose stored values are not its weights.

    Attributes:
        reads: the type of the rows it is asked with.
    """

    reads: torch.dtype = torch.float32

    opaque = True
    encloses = True

    def weights(self, module: nn.Module) -> dict[str, nn.Parameter]:
        """Return nothing: no edit changes what is stored.

        Args:
            module: the module.
        """
        return {}

    def matrix(self, model: nn.Module) -> Tensor:
        """Return ``[W | b]`` as the layer's answers show it, (1, outputs, width), in float32.

        Args:
            model: the model.
        """
        module = submodule(model, self.module)
        held = replacing_layer(module)
        if held is not None:
            plain = LinearMap("", "", "", self.outputs, self.columns, self.bias)
            return plain.matrix(held)
        return _asked(module, self)

    def constant(self, module: nn.Module) -> Callable[[], Tensor]:
        """Return what gives the bias: the layer's answer to 0.

        Args:
            module: the port on a view.
        """
        fixed = _answers(module, torch.zeros(1, self.columns, dtype=self.reads))[0]
        return lambda: fixed

    def check_bake(self, model: nn.Module) -> None:
        """Refuse: there is no place for an edited weight.

        Args:
            model: the base.

        Raises:
            CoverageError: always: stored values are not the weights.
        """
        raise CoverageError(
            f"Layer {self.name!r} ({self.kind}) is quantised: no edited weight can be stored in it. Keep the "
            "edited view, take the edit away as an adapter (save_lora), or name other layers (layers=…)."
        )

    def install(self, model: nn.Module, matrix: Tensor, *, own: bool) -> bool:
        """Let a view compute with a matrix in float32 instead; anything else is refused.

        Args:
            model: a view, or a copy to bake into.
            matrix: (groups, outputs / groups, width).
            own: whether the model's parameters are nobody else's, so that they may be written to.

        Returns:
            True: it can always be done in a view.
        """
        if base_of(model) is model:
            self.check_bake(model)
        module = submodule(model, self.module)
        weight, bias = self.split(matrix)
        layer = nn.Linear(1, 1, bias=bias is not None, device=matrix.device)
        layer.in_features, layer.out_features = self.columns, self.outputs
        replace_forward(module, _Held(filled(layer, weight, bias, torch.empty(0, device=matrix.device))))
        return True

    def release(self, view: nn.Module) -> bool:
        """Let the quantised layer compute again.

        Args:
            view: a private view.

        Returns:
            True: it can always be done.
        """
        restore_forward(submodule(view, self.module))
        return True


class _Held(nn.Module):
    """A Linear layer in float32 that answers in the type it is asked in."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    @property
    def weight(self) -> Any:
        """The edited weight, (outputs, columns)."""
        return self.layer.weight

    @property
    def bias(self) -> Any:
        """The edited bias, (outputs,), or None."""
        return self.layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the answers to rows of any floating-point type."""
        found: Tensor = self.layer(x.to(self.weight.dtype))
        return found.to(x.dtype)


def opaque_map(label: str, path: str, module: nn.Module, kind: str) -> OpaqueMap | None:
    """Return the linear map of a frozen layer, or None if it is no linear map of rows (see `why_opaque`).

    Args:
        label: public name of the layer.
        path: of the module in the model.
        module: the layer, or an adapter's wrapper of one.
        kind: what it is called.
    """
    size, facts = _size(module), _look(module)
    if size is None or facts.reason:
        return None
    return OpaqueMap(label, path, kind, size[1], size[0], facts.bias, reads=facts.reads)


def why_opaque(module: nn.Module) -> str:
    """Return why a frozen layer is no linear map that can be edited at its input; empty if it is one.

    Args:
        module: the layer.
    """
    return _look(module).reason


def _size(module: nn.Module) -> tuple[int, int] | None:
    for names in (("in_features", "out_features"), ("infeatures", "outfeatures")):
        found = [getattr(module, name, None) for name in names]
        if all(isinstance(size, int) and size > 0 for size in found):
            return found[0], found[1]  # type: ignore[return-value]
    return None


def _look(module: nn.Module) -> _Facts:
    found = _facts.get(module)
    if found is None:
        found = _facts[module] = _find(module)
    return found


def _find(module: nn.Module) -> _Facts:
    stored = "quantised: its stored values are not the weights"
    size = _size(module)
    if size is None:
        return _Facts(stored)
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 8, size[0], generator=generator)
    for reads in _READS:
        rows = torch.cat([one, two, one + two, torch.zeros_like(one)]).to(reads)
        try:
            found = _answers(module, rows).float()
        except _FAILS:
            continue
        if found.shape != (32, size[1]) or not bool(torch.isfinite(found).all()):
            continue
        a, b, both, none = found.split(8)
        gap = torch.linalg.vector_norm(a + b - none - both)
        if float(gap) > _LINEAR * float(torch.linalg.vector_norm(both - none)):
            return _Facts(f"{stored}, and it is no linear map of its input")
        bias: Any = getattr(module, "bias", None)
        bias = bias() if callable(bias) else bias
        return _Facts("", reads, bias is not None or bool(none.any()))
    return _Facts(f"{stored}, and it cannot be run on rows of floating-point numbers by itself")


def _answers(module: nn.Module, rows: Tensor) -> Tensor:
    """Run a private copy of a layer in evaluation mode on rows (rows, columns)."""
    tensors = (*module.parameters(), *module.buffers())
    place = next((t.device for t in tensors if not t.is_meta), torch.device("cpu"))
    with torch.no_grad():
        found: Tensor = shared_copy(module).eval()(rows.to(place))
    return found.detach()


def _asked(module: nn.Module, linear_map: OpaqueMap) -> Tensor:
    """Return ``[W | b]`` from a layer's answers: kept while room lasts and the layer answers the same."""
    key = weakref.ref(module)
    test = torch.stack(
        [torch.arange(linear_map.columns) % 3 == 0, torch.ones(linear_map.columns, dtype=torch.bool)]
    )
    test = test.to(linear_map.reads)  # 0 and 1 are the same in every arithmetic
    answer = _answers(module, test)
    known = _matrices.get(key)
    if known is not None and torch.equal(known[0], answer):
        _matrices.move_to_end(key)
        return known[1].clone()
    none = _answers(module, torch.zeros(1, linear_map.columns, dtype=linear_map.reads)).float()
    parts = []
    for start in range(0, linear_map.columns, _CHUNK):
        count = min(_CHUNK, linear_map.columns - start)
        rows = torch.zeros(count, linear_map.columns, dtype=linear_map.reads)
        rows[torch.arange(count), start + torch.arange(count)] = 1.0
        parts.append(_answers(module, rows).float() - none)
    matrix = torch.cat(parts).mT
    if linear_map.bias:
        matrix = torch.cat([matrix, none.mT], 1)
    matrix = matrix[None].contiguous()
    _matrices[key] = (answer, matrix)
    for gone in [ref for ref in _matrices if ref() is None]:
        del _matrices[gone]
    while len(_matrices) > 1 and sum(m.numel() * 4 for _, m in _matrices.values()) > _KEPT_BYTES:
        _matrices.popitem(last=False)
    return matrix.clone()
