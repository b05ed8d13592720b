"""What layers read while a view runs: one hook on the port of every linear map."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from ..errors import DataError
from .linear_maps.linear import LinearMap
from .view import submodule

__all__ = ["Hear", "hear_ports"]

Hear = Callable[[LinearMap, Tensor, tuple[Any, ...]], None]
"""Called with a layer, the tensor that it reads, detached, and the other positional arguments of the call."""


def hear_ports(view: nn.Module, linear_maps: Iterable[LinearMap], hear: Hear, *, strict: bool = True) -> None:
    """Call `hear` with what every layer reads, whenever it is called.

    Args:
        view: a private view, opened for these layers.
        linear_maps: the layers.
        hear: see `Hear`.
        strict: whether a call without a tensor is an error; otherwise it is not heard.
    """
    for linear_map in linear_maps:
        submodule(view, linear_map.port).register_forward_pre_hook(
            _hook(linear_map, hear, strict), with_kwargs=True
        )


def _hook(linear_map: LinearMap, hear: Hear, strict: bool) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if x is not None:
            hear(linear_map, x.detach(), args[1:])
        elif strict:
            raise DataError(f"Layer {linear_map.name!r} was called without a tensor; it has nothing to read.")

    return hook
