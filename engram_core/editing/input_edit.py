"""Edit linear layers by two thin products: at their input, or at their output where that is the narrower.

At the input, ``x' = w₀ x − Fᵀ diag(w) R x`` is computed once for all layers that read one tensor. A strength
is a scalar in ``w``. The layers' forward is replaced on the view, which costs less per call than hooks before
and after; what an edit costs per token is then mostly to read F and R (or L) from memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, is_grad_enabled, nn

from ..models.layers import LinearMap

__all__ = ["InputEdit", "OutputEdit", "edit_forward", "restore_forward"]


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
        self._dtype, self._columns = rows.dtype, columns
        self._down, self._up = duals[:, :columns], rows[:, :columns]
        self._up_t = self._up.t()
        biased = rows.shape[-1] > columns
        self._down_one = duals[:, columns] if biased else None
        self._up_one = rows[:, columns] if biased else None
        self._keeps = keeps
        self._members = members
        # The last input and what became of it, for the other layers that read the same tensor. One object,
        # put in place in one assignment: a thread that finds another's computes its own.
        self.memo: tuple[Tensor, Tensor | float, int, tuple[Tensor, Tensor | None]] | None = None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the edited input, and ``β − 1`` (…, 1) where the layers have a bias.

        The bias is the map of the row's constant 1, and an edit turns that 1 into β.
        """
        edited, beta = self.flat(x)
        return edited.view(x.shape), beta

    def flat(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what a call returns, an input of a single position as a vector (columns,)."""
        weights = self.weights
        # Without a version counter a change in place would go unseen; with gradients, the memo would keep
        # a graph alive.
        if self._members == 1 or is_grad_enabled() or x.is_inference():
            return self._edit(x, weights)
        memo = self.memo
        if memo is not None and memo[0] is x and memo[1] is weights and memo[2] == x._version:
            return memo[3]
        found = self._edit(x, weights)
        self.memo = (x, weights, x._version, found)
        return found

    def _edit(self, x: Tensor, weights: Tensor | float) -> tuple[Tensor, Tensor | None]:
        flat, single = _flat(x, self._columns, self._dtype)
        share, scale = _share(flat, self._down, self._down_one, weights)
        if not self._keeps:
            edited = (share @ self._up).mul_(scale)
        elif single:
            edited = torch.addmv(flat, self._up_t, share, alpha=scale)
        else:
            edited = torch.addmm(flat, share, self._up, alpha=scale)
        if not single:
            edited = edited.view(x.shape)
        beta = None
        if self._up_one is not None:
            beta = (share @ self._up_one).view(*x.shape[:-1], 1) * scale
            if not self._keeps:
                beta = beta - 1.0
        return (edited if edited.dtype is x.dtype else edited.to(x.dtype)), beta


def _flat(x: Tensor, columns: int, dtype: torch.dtype) -> tuple[Tensor, bool]:
    """Return an input as rows in a type, or as a vector if it is one position, and whether it is that."""
    wide = x if x.dtype is dtype else x.to(dtype)
    single = x.numel() == columns  # as in generation: products with a vector
    return (wide.reshape(-1) if single else wide.reshape(-1, columns)), single


def _share(flat: Tensor, duals: Tensor, ones: Tensor | None, weights: Tensor | float) -> tuple[Tensor, float]:
    """Return ``R x`` of a vector or of rows, weighed, in the type of the duals, and a factor yet to come."""
    share = duals @ flat if flat.ndim == 1 and ones is None else F.linear(flat, duals, ones)
    share = share if share.dtype is duals.dtype else share.to(duals.dtype)  # autocast takes it in another
    return (share, -weights) if isinstance(weights, float) else (share * weights, -1.0)


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
        self._dtype, self._columns = duals.dtype, columns
        self._left, self._left_t = left, left.t()
        self._down = duals[:, :columns]
        self._down_one = duals[:, columns] if duals.shape[-1] > columns else None
        self._keeps = keeps

    def __call__(self, x: Tensor, inner: Callable[..., Tensor], weight: Tensor | None = None) -> Tensor:
        """Return the edited output of the layer that computes ``inner(x)``, of which `weight` may be all."""
        weights = self.weights
        flat, single = _flat(x, self._columns, self._dtype)
        share, scale = _share(flat, self._down, self._down_one, weights)
        if not self._keeps:
            taken = (share @ self._left).mul_(scale)
            return taken.view(*x.shape[:-1], -1).to(x.dtype)
        plain = single and weight is not None and weight.dtype is share.dtype and flat.dtype is x.dtype
        output = weight @ flat if plain else inner(x)  # type: ignore[operator]
        whole = output if output.dtype is share.dtype else output.to(share.dtype)
        if plain:  # the product is this call's own
            edited = whole.addmv_(self._left_t, share, alpha=scale)
        elif single:
            edited = torch.addmv(whole.reshape(-1), self._left_t, share, alpha=scale)
        else:
            edited = torch.addmm(whole.reshape(-1, whole.shape[-1]), share, self._left, alpha=scale)
        edited = edited.view(1, 1, -1) if x.ndim == 3 and single else edited.view(*x.shape[:-1], -1)
        return edited if edited.dtype is output.dtype else edited.to(output.dtype)


def edit_forward(
    module: nn.Module, linear_map: LinearMap, edit: InputEdit | OutputEdit, *, last: bool = True
) -> None:
    """Let a view's module compute through `edit`; `restore_forward` ends it.

    Args:
        module: the layer on the view.
        linear_map: what is known of it.
        edit: what is to be done.
        last: whether no other layer reads the same input after it, so that the input need be kept no longer.
    """
    restore_forward(module)
    inner: Callable[..., Tensor] = module.forward

    def at_input(*args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = _input_first(args, kwargs)
        x = edit(args[0])[0]  # type: ignore[call-arg]
        if last:
            edit.memo = None  # type: ignore[union-attr]
        return inner(x, *args[1:], **kwargs)

    def at_input_of_linear(*args: Any, **kwargs: Any) -> Tensor:
        x = args[0] if args else _input_first(args, kwargs)[0][0]
        edited = edit.flat(x)[0]  # type: ignore[union-attr]
        if last:
            edit.memo = None  # type: ignore[union-attr]
        if edited.ndim == 1:
            weight = parameters.get("weight")
            if weight is not None and edited.dtype is weight.dtype:
                # Half of what nn.Linear does before the same product; in a small model that is felt.
                product = weight @ edited
                return product.view(1, 1, -1) if x.ndim == 3 else product.view(*x.shape[:-1], -1)
        return inner(edited.view(x.shape))

    def at_input_with_bias(*args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = _input_first(args, kwargs)
        x, beta = edit(args[0])  # type: ignore[call-arg]
        if last:
            edit.memo = None  # type: ignore[union-attr]
        assert beta is not None and constant is not None
        output = inner(x, *args[1:], **kwargs)
        return (output.to(beta.dtype) + beta * constant().to(beta.dtype)).to(output.dtype)

    def at_output(*args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = _input_first(args, kwargs)
        if kwargs or len(args) > 1:
            return edit(args[0], lambda x: inner(x, *args[1:], **kwargs))  # type: ignore[call-arg,return-value]
        weight = parameters.get("weight") if plain and not linear_map.bias else None
        return edit(args[0], inner, weight)  # type: ignore[call-arg,return-value]

    parameters = module._parameters
    constant = linear_map.constant(module) if linear_map.bias else None
    plain = (
        "forward" not in vars(module) and type(module).forward is nn.Linear.forward and not linear_map.opaque
    )
    if isinstance(edit, OutputEdit):
        forward = at_output
    elif linear_map.bias:
        forward = at_input_with_bias
    else:
        forward = at_input_of_linear if plain else at_input
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
