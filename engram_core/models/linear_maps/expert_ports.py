"""Blocks of fused experts in a view: the same answers, computed through a port per expert."""

from __future__ import annotations

import functools
import inspect
import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ExpertPort", "OpenExperts", "close_experts", "first_parameter", "open_block"]


def first_parameter(module: nn.Module) -> str:
    """Return the name of the parameter that a block of experts multiplies first.

    Args:
        module: the block.
    """
    return "gate_up_proj" if module.has_gate else "up_proj"


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
        first, second = getattr(self, f"{first_parameter(self)}_ports"), self.down_proj_ports
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


def open_block(module: nn.Module) -> None:
    """Give a block of experts, which must be private, a port per expert.

    Args:
        module: the block.
    """
    if isinstance(module, OpenExperts):
        return
    for parameter in (first_parameter(module), "down_proj"):
        ports = [ExpertPort(module, parameter, e) for e in range(int(module.num_experts))]  # type: ignore[arg-type]
        module.add_module(f"{parameter}_ports", nn.ModuleList(ports))
    kind: Any = type(module)
    module.__class__ = _opened(kind)


def close_experts(view: nn.Module) -> None:
    """Make every opened block of experts what it was: the base's own code, so its very bits.

    Args:
        view: a private copy.
    """
    for module in list(view.modules()):
        if isinstance(module, OpenExperts):
            for parameter in (first_parameter(module), "down_proj"):
                delattr(module, f"{parameter}_ports")
            module.__class__ = type(module).__mro__[2]
