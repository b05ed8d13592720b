"""Maps whose weight their module computes at every call: what the kinds of them have in common.

The weight that counts is the one in force. A view holds an edited one in the module's place; where the weight
came from (the originals of a parametrisation, an adapter's factors) is never written.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..view import base_of, submodule
from .linear import LinearMap

__all__ = ["DerivedMap", "filled", "replace_forward", "replacing_layer", "restore_forward"]


@dataclass(frozen=True)
class DerivedMap(LinearMap):
    """A map with the rows of another kind, whose weight is computed.

    Attributes:
        inner: the map that a plain layer with this weight would be; its module is the layer itself.
    """

    inner: LinearMap = field(default_factory=lambda: LinearMap("", "", "", 0, 0, False))

    encloses = True

    @property
    def dense_only(self) -> bool:  # type: ignore[override]
        """Whether an edit must replace the weight."""
        return self.inner.dense_only

    @property
    def whole(self) -> bool:  # type: ignore[override]
        """Whether all rows of an input are one response."""
        return self.inner.whole

    @property
    def row_key(self) -> tuple:
        """Its rows are those of a plain layer."""
        return self.inner.row_key

    def rows(self, x: Tensor) -> Tensor:
        """Return the rows of input `x`, shape (groups, rows, columns).

        Args:
            x: what the layer reads.
        """
        return self.inner.rows(x)

    def piece(self, x: Tensor) -> int:
        """Return how many inputs to turn into rows at once.

        Args:
            x: what the layer reads.
        """
        return self.inner.piece(x)

    def positions(self, x: Tensor) -> tuple[int, ...]:
        """Return the shape that indexes the rows of `x`: (inputs, …).

        Args:
            x: what the layer reads.
        """
        return self.inner.positions(x)

    def placed(self, owner: Tensor, x: Tensor) -> Tensor:
        """Return an owner per input or position of the data as one that fits `positions` of `x`.

        Args:
            owner: (inputs,) or (inputs, positions).
            x: what the layer reads.
        """
        return self.inner.placed(owner, x)

    @abstractmethod
    def plain(self, module: nn.Module) -> nn.Module:
        """Return a layer with the ``weight`` and ``bias`` in force in `module`, which is not written.

        Args:
            module: the module.
        """

    def parameters(self, model: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Return weight and bias in force.

        Args:
            model: the model.
        """
        with torch.no_grad():
            return self.inner.parameters(self.plain(submodule(model, self.module)))

    def weights(self, module: nn.Module) -> dict[str, nn.Parameter]:
        """Return all parameters below the layer that are not for its bias.

        Args:
            module: the module.
        """
        return {n: p for n, p in module.named_parameters() if not _of_bias(n)}

    def matrix(self, model: nn.Module) -> Tensor:
        """Return ``[W | b]`` in force, shape (groups, outputs / groups, width), in float32 or float64.

        Args:
            model: the model.
        """
        with torch.no_grad():
            return self.inner.matrix(self.plain(submodule(model, self.module)))

    def split(self, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
        """Turn a matrix (groups, outputs / groups, width) into weight- and bias-shaped tensors.

        Args:
            matrix: (groups, outputs / groups, width).

        Returns:
            Weight and bias, in the shapes of the layer's own.
        """
        return self.inner.split(matrix)

    def install(self, model: nn.Module, matrix: Tensor, *, own: bool) -> bool:
        """Put an edited matrix in force: in a view until `release`, in any other model for good.

        Args:
            model: a view, or a copy to bake into.
            matrix: (groups, outputs / groups, width).
            own: whether the model's parameters are nobody else's, so that they may be written to.

        Returns:
            True: it can always be done.
        """
        weight, bias = self.split(matrix)
        module = submodule(model, self.module)
        if base_of(model) is not model:
            self._install(module, weight, bias)
        else:
            self._bake(model, module, weight, bias)
        return True

    @abstractmethod
    def _install(self, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        """Make a view's module compute with these, in a way that `release` can undo."""

    @abstractmethod
    def _bake(self, model: nn.Module, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        """Make a module plain, with these as its parameters."""


def _of_bias(path: str) -> bool:
    parts = path.split(".")
    return parts[0] == "bias" or parts[:2] == ["parametrizations", "bias"] or parts[0].startswith("bias_")


def filled(layer: nn.Module, weight: Tensor, bias: Tensor | None, like: Tensor) -> nn.Module:
    """Give a layer that nobody else holds its parameters.

    Args:
        layer: with ``weight`` and, if `bias` is given, ``bias``; what it had is not written to.
        weight: the weight.
        bias: the bias; None leaves it as it is.
        like: says type, device and whether gradients are kept.

    Returns:
        The layer.
    """
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None:
            value = tensor.to(device=like.device, dtype=like.dtype, copy=True).contiguous()
            layer._parameters[name] = nn.Parameter(value, requires_grad=like.requires_grad)
    return layer


def replace_forward(module: nn.Module, layer: nn.Module) -> None:
    """Let a view's module compute what `layer` computes; `restore_forward` ends it.

    Args:
        module: on a view.
        layer: computes from now on.
    """
    restore_forward(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        x = args[0] if args else next(v for v in kwargs.values() if isinstance(v, Tensor))
        return layer(x)

    forward.layer = layer  # type: ignore[attr-defined]
    forward.before = vars(module).get("forward")  # type: ignore[attr-defined]
    vars(module)["forward"] = forward


def replacing_layer(module: nn.Module) -> nn.Module | None:
    """Return the layer that `replace_forward` put in a module's place, if any.

    Args:
        module: on a view.
    """
    return getattr(vars(module).get("forward"), "layer", None)


def restore_forward(module: nn.Module) -> None:
    """Give a module back the forward it had before `replace_forward`.

    Args:
        module: on a view.
    """
    if replacing_layer(module) is None:
        return
    before: Callable[..., Any] | None = vars(module).pop("forward").before
    if before is not None:
        vars(module)["forward"] = before
