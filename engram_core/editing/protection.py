"""Calls on a view that would write the parameters it shares with its base are refused.

A view holds the very parameters of its base wherever they are not edited. Torch's ways to convert a module,
to load weights into it or to freeze it write those in place, and so would reach the base.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import EngramError
from ..models.view import base_of

__all__ = ["protect"]

_INSTEAD = (
    "The base is never written: do this to the base and record it, or take bake(view), a model of its own."
)


def protect(view: nn.Module) -> None:
    """Let every module of a view refuse what would write its base, and still do what would not."""
    shared = frozenset(id(p) for p in base_of(view).parameters())
    for module in view.modules():
        state = vars(module)
        for name, guard in _GUARDS.items():
            state[name] = functools.partial(guard, module, getattr(module, name), shared)


def _said(module: nn.Module) -> str:
    return f"This {type(module).__name__} is part of an edited view and shares parameters with the base:"


def _apply(
    module: nn.Module, inner: Callable[..., Any], shared: frozenset[int],
    fn: Callable[[Tensor], Tensor], recurse: bool = True,
) -> Any:  # fmt: skip
    with torch.no_grad():
        written = any(fn(p) is not p for p in module.parameters(recurse) if id(p) in shared)
    if written:
        raise EngramError(
            f"{_said(module)} moving or converting it (.to, .half …) would convert the base, too. {_INSTEAD}"
        )
    return inner(fn, recurse)


def _requires_grad(
    module: nn.Module, inner: Callable[..., Any], shared: frozenset[int], requires_grad: bool = True
) -> Any:
    if any(p.requires_grad != requires_grad for p in module.parameters() if id(p) in shared):
        raise EngramError(
            f"{_said(module)} requires_grad_({requires_grad}) would act on the base, too. {_INSTEAD}"
        )
    return inner(requires_grad)


def _load(
    module: nn.Module, inner: Callable[..., Any], shared: frozenset[int], *args: Any, **kwargs: Any
) -> Any:
    raise EngramError(f"{_said(module)} loading weights would overwrite the base's. {_INSTEAD}")


_GUARDS: dict[str, Callable[..., Any]] = {
    "_apply": _apply,
    "requires_grad_": _requires_grad,
    "load_state_dict": _load,
}
