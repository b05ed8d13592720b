"""Edit linear layers by two thin products: at their input, or at their output where that is the narrower.

At the input, ``x' = w₀ x − Fᵀ diag(w) R x`` is computed once for all layers that read one tensor. A strength
is a scalar in ``w``. The layers' forward is replaced on the view, which costs less per call than hooks before
and after; what an edit costs per token is then mostly to read F and R (or L) from memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, is_grad_enabled, nn

from .layers import Slot

__all__ = ["InputEdit", "OutputEdit", "edit_forward", "restore_forward"]


class _Memo(threading.local):
    """The last edited input of a thread, for the other layers that read the same tensor."""

    def __init__(self) -> None:
        self.source: Tensor | None = None
        self.version = 0
        self.weights: Tensor | float | None = None
        self.found: tuple[Tensor, Tensor | None] | None = None
        self.left = 0


class InputEdit:
    """The edit of one layer input.

    Args:
        rows: ``F``, (r, D).
        duals: ``R``, (r, D).
        weights: ``w``, (r,), or one number for all. Another strength is another object here, put in place in
            one assignment, so that no call sees half of it.
        columns: columns of the input without the bias column.
        keeps: ``w₀``: 1, or 0 where the layers start empty.
        members: number of layers that read this input.
    """

    def __init__(
        self, rows: Tensor, duals: Tensor, weights: Tensor | float, *, columns: int, keeps: bool, members: int
    ):
        self.weights = weights
        self._dtype = rows.dtype
        self._down, self._up = duals[:, :columns], rows[:, :columns]
        biased = rows.shape[-1] > columns
        self._down_one = duals[:, columns] if biased else None
        self._up_one = rows[:, columns] if biased else None
        self._keeps = keeps
        self._members = members
        self._memo = _Memo()

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the edited input, and ``β − 1`` (…, 1) where the layers have a bias.

        The bias is the map of the row's constant 1, and an edit turns that 1 into β.
        """
        weights = self.weights
        # Without a version counter a change in place would go unseen; with gradients, the memo would keep
        # a graph alive.
        if self._members == 1 or is_grad_enabled() or x.is_inference():
            return self._edit(x, weights)
        memo = self._memo
        if memo.source is x and memo.version == x._version and memo.weights is weights:
            found = memo.found
            assert found is not None
            memo.left -= 1
            if not memo.left:
                memo.source = memo.found = memo.weights = None
            return found
        found = self._edit(x, weights)
        memo.source, memo.version, memo.weights, memo.found = x, x._version, weights, found
        memo.left = self._members - 1
        return found

    def _edit(self, x: Tensor, weights: Tensor | float) -> tuple[Tensor, Tensor | None]:
        wide = x if x.dtype is self._dtype else x.to(self._dtype)
        share = F.linear(wide, self._down, self._down_one)
        scale, share = (weights, share) if isinstance(weights, float) else (1.0, share * weights)
        taken = share @ self._up
        edited = wide.sub(taken, alpha=scale) if self._keeps else taken.mul_(-scale)
        beta = None
        if self._up_one is not None:
            beta = (share @ self._up_one).unsqueeze(-1) * -scale
            if not self._keeps:
                beta = beta - 1.0
        return (edited if edited.dtype is x.dtype else edited.to(x.dtype)), beta


class OutputEdit:
    """The edit of one layer at its output, ``z' = w₀ z − L diag(w) R x`` with ``L = W Fᵀ``: for wide inputs.

    Args:
        left: ``Lᵀ``, (r, outputs).
        duals: ``R``, (r, D).
        weights: as in `InputEdit`.
        columns: columns of the input without the bias column.
        keeps: ``w₀``.
    """

    def __init__(self, left: Tensor, duals: Tensor, weights: Tensor | float, *, columns: int, keeps: bool):
        self.weights = weights
        self._left = left
        self._down = duals[:, :columns]
        self._down_one = duals[:, columns] if duals.shape[-1] > columns else None
        self._keeps = keeps

    def __call__(self, x: Tensor, inner: Callable[..., Tensor]) -> Tensor:
        """Return the edited output of the layer that computes ``inner(x)``."""
        weights = self.weights
        share = F.linear(x.to(self._down.dtype), self._down, self._down_one)
        scale, share = (weights, share) if isinstance(weights, float) else (1.0, share * weights)
        taken = share @ self._left
        if not self._keeps:
            return (taken * -scale).to(x.dtype)
        output = inner(x)
        if output.dtype is taken.dtype:
            return output.sub(taken, alpha=scale)
        return output.to(taken.dtype).sub(taken, alpha=scale).to(output.dtype)


def edit_forward(module: nn.Module, slot: Slot, edit: InputEdit | OutputEdit) -> None:
    """Let a view's module compute through `edit`; `restore_forward` ends it."""
    restore_forward(module)
    inner: Callable[..., Tensor] = module.forward

    def at_input(*args: Any, **kwargs: Any) -> Tensor:
        if len(args) == 1 and not kwargs:  # as nearly always
            return inner(edit(args[0])[0])  # type: ignore[call-arg]
        args, kwargs = _input_first(args, kwargs)
        return inner(edit(args[0])[0], *args[1:], **kwargs)  # type: ignore[call-arg]

    def at_input_with_bias(*args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = _input_first(args, kwargs)
        x, beta = edit(args[0])  # type: ignore[call-arg]
        assert beta is not None
        output = inner(x, *args[1:], **kwargs)
        bias = module.bias.detach().to(beta.dtype)  # type: ignore[union-attr,operator]
        return (output.to(beta.dtype) + beta * bias).to(output.dtype)

    def at_output(*args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = _input_first(args, kwargs)
        return edit(args[0], lambda x: inner(x, *args[1:], **kwargs))  # type: ignore[call-arg,return-value]

    if isinstance(edit, OutputEdit):
        forward = at_output
    else:
        forward = at_input_with_bias if slot.bias else at_input
    forward.inner = vars(module).get("forward")  # type: ignore[attr-defined]
    vars(module)["forward"] = forward


def _input_first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with the input in the first place, however it was named."""
    if args:
        return args, kwargs
    name = next(k for k, v in kwargs.items() if isinstance(v, Tensor))
    return (kwargs[name],), {k: v for k, v in kwargs.items() if k != name}


def restore_forward(module: nn.Module) -> None:
    """Give a view's module back the forward it had."""
    forward: Any = vars(module).get("forward")
    if not hasattr(forward, "inner"):
        return
    if forward.inner is None:
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = forward.inner
