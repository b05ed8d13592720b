"""The comparison of what one edited layer answers in a pass with what its edited map does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import EffectError
from ..models.linear_maps.derived import DerivedMap, replacing_layer
from ..models.linear_maps.linear import LinearMap
from ..models.view import shared_copy, submodule

__all__ = ["Edited", "LayerCheck"]

Edited = Callable[[LinearMap, Tensor], Tensor]
"""Turns rows with their bias column, (rows, width), into what the edit makes of them."""


class LayerCheck:
    """The comparison for one layer, made at its first call."""

    def __init__(self, linear_map: LinearMap, form: str, base: nn.Module, witness: nn.Module, edited: Edited):
        self.linear_map, self.form, self.done = linear_map, form, False
        self._base, self._witness, self._edited = base, witness, edited

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Compare one call of the layer; only the first counts.

        Raises:
            EffectError: if it answers otherwise than it should.
        """
        if self.done:
            return
        self.done = True
        found = _tensor(output)
        right = self._right(args, kwargs)
        if found.shape != right.shape:
            raise self._refusal(f"it answers in shape {tuple(found.shape)} instead of {tuple(right.shape)}")
        found, right = found.double(), right.double()
        apart, size = _norm(found - right), _norm(found) + _norm(right)
        # What is quantised rounds what it reads to steps of a hundredth or so.
        rounding = 0.05 if self.linear_map.opaque else 4 * torch.finfo(_tensor(output).dtype).eps + 1e-5
        if apart <= rounding * size:
            return
        before = self._before(args, kwargs).double()
        size += _norm(before)
        change = _norm(right - before)
        if apart <= max(rounding * size, min(0.05 * size, 0.25 * change)):
            return
        if self._adds_to_it(args, kwargs, found, right - before, rounding * size):
            return
        where = "the unedited layer" if _norm(found - before) <= 0.25 * change else "something else"
        raise self._refusal(
            f"on a recorded input its answer is off by {apart / size:.1%}: it is that of {where}"
        )

    def _adds_to_it(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], found: Tensor, change: Tensor, allowed: float
    ) -> bool:
        """Whether a forward set on the layer adds something of its own to what the edited layer answers."""
        if "forward" not in vars(submodule(self._base, self.linear_map.module)) or self.linear_map.routed:
            return False
        unedited = submodule(shared_copy(self._base).eval(), self.linear_map.module)
        effect = found - _tensor(unedited.forward(*args, **kwargs)).double()
        return _norm(effect - change) <= max(allowed, 0.25 * _norm(change)) and _norm(change) > allowed

    def _shell(self, of: nn.Module) -> Callable[..., Any]:
        """Return the layer's own code with the parameters it has in `of`, free of hooks and set forwards."""
        module = submodule(of, self.linear_map.module)
        held = replacing_layer(module) if self.form == "weights" else None
        if held is not None:
            module = held
        elif isinstance(self.linear_map, DerivedMap):
            module = self.linear_map.plain(module)
        shell = shared_copy(module).eval()
        vars(shell).pop("forward", None)
        return shell.forward

    def _right(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if self.form == "weights":
            if self.linear_map.routed:
                return _tensor(submodule(self._witness, self.linear_map.port).forward(*args, **kwargs))
            return _tensor(self._shell(self._witness)(*args, **kwargs))
        x = _tensor((*args, *kwargs.values()))
        rows = self.linear_map.rows(x)[0]
        wide = rows.double() if rows.dtype == torch.float64 else rows.float()
        if self.linear_map.bias:
            wide = torch.cat([wide, wide.new_ones(len(wide), 1)], -1)
        after = self._edited(self.linear_map, wide)
        columns = self.linear_map.columns
        answer = self._plain(after[:, :columns].reshape(x.shape).to(x.dtype))
        if self.linear_map.bias:
            bias = self._plain(x.new_zeros(1, columns)).reshape(-1)
            answer = answer + ((after[:, columns] - 1.0).reshape(*x.shape[:-1], 1) * bias).to(answer.dtype)
        return answer

    def _before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if self.linear_map.routed:
            return self._plain(_tensor((*args, *kwargs.values())))
        return _tensor(self._shell(self._base)(*args, **kwargs))

    def _plain(self, x: Tensor) -> Tensor:
        """Return what the base's layer answers to `x`."""
        if not self.linear_map.routed:
            return _tensor(self._shell(self._base)(x))
        matrix = self.linear_map.matrix(self._base)[0]
        answer = x.to(matrix.dtype) @ matrix[:, : self.linear_map.columns].mT
        return (answer + matrix[:, -1] if self.linear_map.bias else answer).to(x.dtype)

    def _refusal(self, found: str) -> EffectError:
        module = submodule(self._base, self.linear_map.module)
        if "forward" in vars(module):
            why = (
                "A forward of its own was set on this very layer, and does not compute with what the layer "
                "holds. Take it off, or let it use the module it is given"
            )
        else:
            why = (
                f"Its class is {type(module).__name__} now; if the model was changed since it was recorded, "
                "record it again"
            )
        return EffectError(
            f"The edit of layer {self.linear_map.name!r} does not act as it should: {found}. {why}; or "
            "leave the layer out with layers=…."
        )


def _tensor(value: Any) -> Tensor:
    """Return the first tensor of arguments or of an answer."""
    if isinstance(value, Tensor):
        return value.detach()
    return next(v.detach() for v in value if isinstance(v, Tensor))


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))
