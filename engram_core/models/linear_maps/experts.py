"""Mixture-of-experts layers whose experts are slices of three-dimensional parameters.

Since transformers 5 the experts of a block are two parameters, ``gate_up_proj`` (experts, 2 · inner,
hidden) and ``down_proj`` (experts, hidden, inner), multiplied in one grouped call that no hook reaches.
Every slice is a linear map here, named ``….experts.gate_up_proj[3]``; its rows are the tokens that the
router sends to that expert. A view's experts get the class below, which computes the same through a port per
expert.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..view import base_of, submodule
from .linear import LinearMap

__all__ = ["ExpertPort", "ExpertMap", "close_experts", "expert_maps", "open_experts"]

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
        _open(submodule(view, self.module))

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
        """Take back what `hold` put into a view.

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


def _first(module: nn.Module) -> str:
    return "gate_up_proj" if module.has_gate else "up_proj"


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
    for parameter in (_first(module), "down_proj"):
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


class ExpertPort(nn.Module):
    """One expert's map in a view: called with its rows, the tokens they come from, and how many there are.

    Attributes:
        replaced: weight and bias to use instead of the slice, in the shapes of the slice; None for the slice.
    """

    def __init__(self, owner: nn.Module, parameter: str, expert: int):
        super().__init__()
        self._owner = weakref.ref(owner)  # a child that held its parent would be a circle of modules
        self._parameter, self._expert = parameter, expert
        self.replaced: tuple[Tensor, Tensor | None] | None = None

    def _slice(self) -> tuple[Tensor, Tensor | None]:
        if self.replaced is not None:
            return self.replaced
        owner = self._owner()
        assert owner is not None
        bias = getattr(owner, f"{self._parameter}_bias") if owner.has_bias else None
        return getattr(owner, self._parameter)[self._expert], None if bias is None else bias[self._expert]

    @property
    def bias(self) -> Tensor | None:
        """The bias in force, (outputs,)."""
        return self._slice()[1]

    def forward(self, x: Tensor, tokens: Tensor, count: int) -> Tensor:
        """Return the answers to rows `x` (rows, columns), shape (rows, outputs).

        Args:
            x: the rows that the router sends to this expert.
            tokens: which token each row is.
            count: number of all tokens.
        """
        weight, bias = self._slice()
        owner = self._owner()
        assert owner is not None
        return F.linear(x, weight.t() if owner.is_transposed else weight, bias)


class OpenExperts(nn.Module):
    """What every opened block of experts is."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the block as its own class does, one expert after another."""
        original: Any = type(self).__mro__[2]
        bound = inspect.signature(original.forward).bind(self, *args, **kwargs)
        _, hidden, chosen, shares = list(bound.arguments.values())[:4]
        shape = hidden.shape
        hidden = hidden.reshape(-1, shape[-1])
        total, each = len(hidden), chosen.shape[-1]
        flat = chosen.reshape(-1)
        order = torch.argsort(flat, stable=True)
        # Numbers above the last expert mean "nobody": such a place adds nothing.
        counts = torch.bincount(flat.clamp(max=self.num_experts), minlength=self.num_experts).tolist()  # type: ignore[operator,arg-type]
        first, second = getattr(self, f"{_first(self)}_ports"), self.down_proj_ports
        answers, start = None, 0
        for expert, count in enumerate(counts[: int(self.num_experts)]):  # type: ignore[arg-type]
            if count:
                places = order[start : start + count]
                tokens = places // each
                x = first[expert](hidden[tokens], tokens, total)
                x = self._apply_gate(x) if self.has_gate else self.act_fn(x)  # type: ignore[operator]
                x = second[expert](x, tokens, total)  # type: ignore[index,operator]
                if self.has_post_expert_norm:
                    x = self.post_expert_norm(x)  # type: ignore[operator]
                if answers is None:
                    answers = x.new_zeros(len(flat), x.shape[-1])
                answers[places] = x
            start += count
        if answers is None:
            return hidden.new_zeros(shape)
        # Weighed and summed in the order of the choices, as transformers does, whatever the experts' order.
        weighed = answers * shares.reshape(-1, 1)
        found = weighed.view(total, each, -1).sum(1).to(hidden.dtype)
        return found.reshape(*shape[:-1], found.shape[-1])


@functools.cache
def _opened(kind: Any) -> Any:
    return type(f"Open{kind.__name__}", (OpenExperts, kind), {"__module__": __name__})


def _open(module: nn.Module) -> None:
    if isinstance(module, OpenExperts):
        return
    for parameter in (_first(module), "down_proj"):
        ports = [ExpertPort(module, parameter, e) for e in range(int(module.num_experts))]  # type: ignore[arg-type]
        module.add_module(f"{parameter}_ports", nn.ModuleList(ports))
    kind: Any = type(module)
    module.__class__ = _opened(kind)


def open_experts(view: nn.Module, linear_maps: list[LinearMap]) -> None:
    """Give the blocks that `linear_maps` belong to a port per expert; `view` must be a private copy.

    Args:
        view: a private copy.
        linear_maps: those of the model; only experts count.
    """
    for path in dict.fromkeys(
        linear_map.module for linear_map in linear_maps if isinstance(linear_map, ExpertMap)
    ):
        _open(submodule(view, path))


def close_experts(view: nn.Module) -> None:
    """Make every opened block of experts what it was: the base's own code, so its very bits.

    Args:
        view: a private copy.
    """
    for module in list(view.modules()):
        if isinstance(module, OpenExperts):
            for parameter in (_first(module), "down_proj"):
                delattr(module, f"{parameter}_ports")
            module.__class__ = type(module).__mro__[2]
