"""How a pass uses the weights of covered layers: through their own forward, or past it.

Hooks hear a layer only when the module itself is called. A weight that is also used elsewhere would be edited
in one place and not in the other, and a layer that is never called has no effect to speak of: both must be
known before anything is claimed of them.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .linear_maps.linear import LinearMap
from .linear_maps.parametrized import HookedMap
from .tensor_twins import extent
from .unwritten import Unwritten, storage_of, tensors_in
from .view import submodule

__all__ = ["NEVER_CALLED", "Usage"]

NEVER_CALLED = "never called in the recorded forward passes"
DIRECT = (
    "this layer's forward is called past the layer (as `.forward()`, or by a class with a `__call__` of "
    "its own), where nothing can listen; call the module instead"
)
_BASE = (
    "its weight is used by the base model itself, which a forward or hook set on this model calls by name; "
    "let it use the module it is given"
)
_FUNCTIONALLY = (
    "its weight is used functionally ({}), outside this layer's own forward; an edit of the layer would not "
    "act there, or would change that too"
)
# What runs a model; its callers do not matter.
_PASSES = ("engram_core.recording.listener", "engram_core.recording.probes")
_WATCHED = 8  # kinds of batches whose every operation is watched


@dataclass
class _Owner:
    """A module that owns the weights of covered layers, on the view."""

    path: str
    module: nn.Module
    names: list[str]
    running: int = 0  # calls of its forward that have not ended
    called: bool = False  # whether its forward ever ran
    outside: str = ""  # by what its weight was used while none ran
    traced: bool = False  # whether it is known who computes inside its forward


class Usage:
    """Watches a private view while it records.

    Args:
        view: the view; its covered modules' forward is wrapped.
        linear_maps: those of the covered layers.
        base: the model it is a view of.
    """

    def __init__(self, view: nn.Module, linear_maps: Sequence[LinearMap], base: nn.Module) -> None:
        self._held = {id(module) for module in base.modules()}
        self._owners: dict[str, _Owner] = {}
        self._ranges: dict[int, list[tuple[int, int, _Owner]]] = {}
        self._seen: set[Any] = set()
        self._unwritten = Unwritten(view, base)
        self.paused = False
        self._routed = {linear_map.name for linear_map in linear_maps if linear_map.routed}
        for linear_map in linear_maps:
            owner = self._owners.get(linear_map.module)
            if owner is None:
                owner = self._owners[linear_map.module] = _Owner(
                    linear_map.module, submodule(view, linear_map.module), []
                )
                _wrap(owner)
            owner.names.append(linear_map.name)
            if isinstance(linear_map, HookedMap):
                continue  # its weight is made by a hook, before its forward
            # An edited view holds weights of its own; whoever still reads the base's goes past the edit.
            held = (submodule(model, linear_map.module) for model in (view, base))
            for parameter in (p for module in held for p in linear_map.weights(module).values()):
                place = _span(parameter)
                if place is not None:
                    entries = self._ranges.setdefault(place[0], [])
                    if (place[1], place[2], owner) not in entries:
                        entries.append((place[1], place[2], owner))

    @contextmanager
    def watching(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Watch every operation of a pass, if it is the first with arguments of this kind.

        Args:
            args: positional arguments of the pass.
            kwargs: keyword arguments of the pass.
        """
        kind = (
            tuple(_kind(v) for v in args),
            tuple((k, _kind(v)) for k, v in sorted(kwargs.items(), key=lambda item: str(item[0]))),
        )
        if kind in self._seen or len(self._seen) >= _WATCHED:
            yield
            return
        self._seen.add(kind)
        with self._unwritten, _Watch(self._note):
            yield

    def _note(self, operation: Any, tensors: Iterator[Tensor]) -> None:
        for tensor in () if self.paused else tensors:
            entries = self._ranges.get(storage_of(tensor), ())
            # Where in its memory a tensor lies is asked only of those that share memory with a weight.
            place = _span(tensor) if entries else None
            for start, stop, owner in entries if place is not None else ():
                if owner.outside or place[1] >= stop or start >= place[2]:  # type: ignore[index]
                    continue
                if not owner.running or not owner.traced:
                    owner.traced = True
                    if self._by_the_base():
                        owner.outside = _BASE
                    elif not owner.running:
                        name = str(operation).removeprefix("aten.").partition(".")[0]
                        owner.outside = _FUNCTIONALLY.format(name)

    def _by_the_base(self) -> bool:
        """Whether a module of the base computes now, where only the view's should."""
        # Not this frame itself: its own name for it would be a circle, which holds the inputs of the pass.
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__") not in _PASSES:
            if id(frame.f_locals.get("self")) in self._held:
                return True
            frame = frame.f_back
        return False

    def excluded(self) -> dict[str, str]:
        """Return the layers whose weight is used past their own forward, each with what uses it."""
        return {name: o.outside for o in self._owners.values() if o.outside for name in o.names}

    def why_silent(self, name: str) -> str:
        """Return why nothing was heard of a layer.

        Args:
            name: of the layer.
        """
        for owner in self._owners.values():
            if name in owner.names:
                if owner.called and name not in self._routed:
                    return DIRECT
                return owner.outside or NEVER_CALLED
        return NEVER_CALLED


def _kind(value: Any) -> Any:
    if isinstance(value, Tensor):
        return ("tensor", value.ndim, value.dtype)
    if isinstance(value, list | tuple):
        return tuple(_kind(v) for v in value)
    if isinstance(value, dict):
        return tuple((str(k), _kind(v)) for k, v in value.items())
    return type(value).__name__


def _wrap(owner: _Owner) -> None:
    inner: Callable[..., Any] = owner.module.forward

    @functools.wraps(inner)
    def forward(*args: Any, **kwargs: Any) -> Any:
        owner.running += 1
        owner.called = True
        try:
            return inner(*args, **kwargs)
        finally:
            owner.running -= 1

    vars(owner.module)["forward"] = forward


def _span(tensor: Tensor) -> tuple[int, int, int] | None:
    """Return a tensor's storage and its first and last byte there; None for what has no memory."""
    storage = storage_of(tensor)
    if not storage or tensor.is_meta or not tensor.numel():
        return None
    return storage, *extent(tensor)


class _Watch(TorchDispatchMode):
    """Tells of every operation that reads values; mere views of memory do not count."""

    def __init__(self, note: Callable[[Any, Iterator[Tensor]], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not getattr(func, "is_view", False):
            self._note(func, tensors_in((*args, *kwargs.values())))
        return func(*args, **kwargs)
