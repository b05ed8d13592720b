"""The four maps of ``nn.MultiheadAttention``, three of which may be packed into one parameter."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..view import submodule
from .linear import LinearMap

__all__ = ["AttentionMap"]


@dataclass(frozen=True)
class AttentionMap(LinearMap):
    """One of the four maps of ``nn.MultiheadAttention``: q, k, v or out.

    Attributes:
        part: which of the four.
        packed: whether q, k and v share one parameter.
    """

    part: str = "out"
    packed: bool = True

    dense_only = True
    encloses = True

    @property
    def port(self) -> str:
        """Return the port that `attention.open_attention` adds."""
        port = "out_proj" if self.part == "out" else f"{self.part}_port"
        return f"{self.module}.{port}" if self.module else port

    def parameters(self, model: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Return the parameters this map lives in (packed ones hold q, k and v).

        Args:
            model: the model.
        """
        module = submodule(model, self.module)
        weight, bias = self.parameter_names()
        owner = module.out_proj if self.part == "out" else module
        return getattr(owner, weight.split(".")[-1]), getattr(owner, bias.split(".")[-1])

    def parameter_names(self) -> tuple[str, str]:
        """Return attribute paths of weight and bias relative to the owning module."""
        if self.part == "out":
            return "out_proj.weight", "out_proj.bias"
        return ("in_proj_weight" if self.packed else f"{self.part}_proj_weight"), "in_proj_bias"

    def replaced_parameters(self, model: nn.Module, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
        """Write this map's rows into copies of the packed parameters as they are in `model` now.

        Args:
            model: the model.
            weight: the new weight.
            bias: the new bias, or None.

        Returns:
            The new parameters, by attribute name.
        """
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
                self._part(whole).copy_(new)
                found[name] = whole
        return found

    def _part(self, tensor: Tensor) -> Tensor:
        if self.part == "out" or tensor.shape[0] == self.outputs:
            return tensor
        start = "qkv".index(self.part) * self.outputs
        return tensor[start : start + self.outputs]

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return self._part(weight).reshape(1, self.outputs, self.columns)
