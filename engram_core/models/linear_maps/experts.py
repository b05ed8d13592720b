"""Mixture-of-experts layers whose experts are slices of three-dimensional parameters.

Since transformers 5 the experts of a block are two parameters, ``gate_up_proj`` (experts, 2 · inner,
hidden) and ``down_proj`` (experts, hidden, inner), multiplied in one grouped call that no hook reaches.
Every slice is a linear map here, named ``….experts.gate_up_proj[3]``; its rows are the tokens that the
router sends to that expert. A view's experts get the class below, which computes the same through a port per
expert.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..view import base_of, submodule
from .expert_ports import ExpertPort, OpenExperts, first_parameter, open_block
from .linear import LinearMap

__all__ = ["ExpertMap", "expert_maps", "open_experts"]

# What transformers' experts decorator sets; together they say how the slices are multiplied.
_MARKS = ("has_gate", "has_bias", "has_post_expert_norm", "is_transposed", "num_experts", "_apply_gate")


@dataclass(frozen=True)
class ExpertMap(LinearMap):
    """One expert's slice of a three-dimensional parameter.

    Attributes:
        parameter: name of the parameter in the owning module.
        expert: which slice.
        transposed: whether a slice is (columns, outputs).
    """

    parameter: str = "down_proj"
    expert: int = 0
    transposed: bool = False

    routed = True

    @property
    def port(self) -> str:
        """Return the port that `open_experts` adds."""
        stem = f"{self.module}." if self.module else ""
        return f"{stem}{self.parameter}_ports.{self.expert}"

    @property
    def row_key(self) -> tuple:
        """No two experts read the same rows."""
        return ("routed", self.name)

    def parameters(self, model: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Return the parameters that hold this expert among all others.

        Args:
            model: the model.
        """
        module = submodule(model, self.module)
        weight, bias = self.parameter_names()
        return getattr(module, weight), getattr(module, bias) if self.bias else None

    def parameter_names(self) -> tuple[str, str]:
        """Return the attribute names of the three-dimensional weight and of its bias."""
        return self.parameter, f"{self.parameter}_bias"

    def matrix(self, model: nn.Module) -> Tensor:
        """Return ``[W | b]`` of this expert, (1, outputs, width), in float32 or float64.

        Args:
            model: the model.
        """
        weight, bias = self.parameters(model)
        wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
        # Only the slice is converted: the whole parameter may be a hundred times as large.
        matrix = self._weight_to_matrix(weight.detach()[self.expert].to(wide))
        if bias is None:
            return matrix
        column = bias.detach()[self.expert].to(wide)
        return torch.cat([matrix, column.reshape(1, -1, 1)], -1)

    def replaced_parameters(self, model: nn.Module, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
        """Write this expert into copies of the parameters as they are in `model` now.

        Args:
            model: the model.
            weight: the new weight.
            bias: the new bias, or None.

        Returns:
            The new parameters, by attribute name.
        """
        found = {}
        for name, new, old in zip(
            self.parameter_names(), (weight, bias), self.parameters(model), strict=True
        ):
            if new is not None and old is not None:
                whole = old.detach().clone()
                whole[self.expert] = new.to(whole)
                found[name] = whole
        return found

    def open(self, view: nn.Module) -> None:
        """Give `view`, which must be a private copy, the ports of this expert's block.

        Args:
            view: a private view.
        """
        open_block(submodule(view, self.module))

    def install(self, model: nn.Module, matrix: Tensor, *, own: bool) -> bool:
        """Put an edited matrix where only this slice is copied; False if there is no such place.

        Args:
            model: a view, or a module of its own.
            matrix: ``[W | b]``, (1, outputs, width).
            own: whether nobody else holds the parameters of `model`, so that they may be written.

        Returns:
            Whether it was done.
        """
        weight, bias = self.split(matrix)
        if base_of(model) is not model:
            self.open(model)
            old = self.parameters(model)[0]
            port = submodule(model, self.port)
            assert isinstance(port, ExpertPort)
            port.replaced = (weight.to(old), None if bias is None else bias.to(old))
            return True
        if not own:
            return False
        for new, whole in zip((weight, bias), self.parameters(model), strict=True):
            if new is not None and whole is not None:
                whole.data[self.expert] = new.to(whole)
        return True

    def release(self, view: nn.Module) -> bool:
        """Take back what `install` put into a view.

        Args:
            view: a private view.

        Returns:
            Whether there was something to take back.
        """
        module = submodule(view, self.module)
        if isinstance(module, OpenExperts):
            getattr(module, f"{self.parameter}_ports")[self.expert].replaced = None
        return True

    def _weight_to_matrix(self, weight: Tensor) -> Tensor:
        return (weight.t() if self.transposed else weight).reshape(1, self.outputs, self.columns)

    def _matrix_to_weight(self, matrix: Tensor) -> Tensor:
        weight = matrix.reshape(self.outputs, self.columns)
        return weight.t().contiguous() if self.transposed else weight


def expert_maps(name: str, module: nn.Module) -> list[LinearMap] | None:
    """Return the linear maps of a block of fused experts, or None if `module` is none that is known.

    Args:
        name: path of the module.
        module: any module.
    """
    if not all(hasattr(module, mark) for mark in _MARKS) or getattr(module, "_is_expert_parallel", False):
        return None
    stem = f"{name}." if name else ""
    linear_maps: list[LinearMap] = []
    for parameter in (first_parameter(module), "down_proj"):
        weight, bias = getattr(module, parameter, None), getattr(module, f"{parameter}_bias", None)
        if not isinstance(weight, Tensor) or weight.ndim != 3 or len(weight) != module.num_experts:
            return None
        if bool(module.has_bias) != isinstance(bias, Tensor):
            return None
        transposed = bool(module.is_transposed)
        outputs, columns = weight.shape[:0:-1] if transposed else weight.shape[1:]
        linear_maps += [
            ExpertMap(
                f"{stem}{parameter}[{expert}]", name, "Expert", int(outputs), int(columns),
                bool(module.has_bias), parameter=parameter, expert=expert, transposed=transposed,
            )
            for expert in range(len(weight))
        ]  # fmt: skip
    return linear_maps


def open_experts(view: nn.Module, linear_maps: list[LinearMap]) -> None:
    """Give the blocks that `linear_maps` belong to a port per expert; `view` must be a private copy.

    Args:
        view: a private copy.
        linear_maps: those of the model; only experts count.
    """
    for path in dict.fromkeys(
        linear_map.module for linear_map in linear_maps if isinstance(linear_map, ExpertMap)
    ):
        open_block(submodule(view, path))
