"""One arithmetic for everything computed here, whatever the caller has switched on around it.

Autocast, inference mode and a default device belong to the caller's own code. In here they would change
numbers for good (an engram rounded to bfloat16 stays rounded) or make tensors that gradients cannot pass.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import Any, TypeVar

import torch

from .device import outside

__all__ = ["exact", "exactly", "exactly_all"]

_Kind = TypeVar("_Kind", bound=type)
_Function = TypeVar("_Function", bound=Callable[..., Any])

_CPU = torch.device("cpu")


def _elsewhere() -> bool:
    # A default device stands on the stack of function modes; asking for it takes microseconds.
    return torch._C._len_torch_function_stack() > 0 and torch.get_default_device() != _CPU


def _disturbed() -> bool:
    return torch._C._is_any_autocast_enabled() or torch.is_inference_mode_enabled() or _elsewhere()


@contextmanager
def exact() -> Iterator[None]:
    """Compute as if nothing were switched on: no autocast, no inference mode, the CPU as default device.

    A model that relies on its caller's default device gets it back by `callers_device`.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            # What inference mode makes cannot be saved for a gradient later, in a view that somebody trains.
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        if torch._C._is_any_autocast_enabled():
            for device in ("cpu", *_accelerators()):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
        if _elsewhere():
            before = getattr(outside, "device", None)
            stack.callback(setattr, outside, "device", before)
            outside.device = torch.get_default_device()
            stack.enter_context(_CPU)
        yield


@functools.cache
def _accelerators() -> tuple[str, ...]:
    found = []
    for device in ("cuda", "mps", "xpu", "hpu", "mtia", "maia", "xla", "ipu", "privateuseone"):
        try:
            torch.is_autocast_enabled(device)
        except RuntimeError:
            continue
        found.append(device)
    return tuple(found)


def exactly(function: _Function) -> _Function:
    """Let a function compute in `exact` arithmetic; a generator does so in every step, not between."""
    if inspect.isgeneratorfunction(function):
        return _exactly_stepwise(function)

    @functools.wraps(function)
    def calm(*args: Any, **kwargs: Any) -> Any:
        if not _disturbed():
            return function(*args, **kwargs)
        with exact():
            return function(*args, **kwargs)

    return calm  # type: ignore[return-value]


def _exactly_stepwise(function: Any) -> Any:
    @functools.wraps(function)
    def calm(*args: Any, **kwargs: Any) -> Any:
        with closing(function(*args, **kwargs)) as steps:
            while True:
                # What is switched on may change between two steps, and must be found as it was.
                with exact() if _disturbed() else nullcontext():
                    try:
                        step = next(steps)
                    except StopIteration as end:
                        return end.value
                yield step

    return calm


def exactly_all(kind: _Kind) -> _Kind:
    """Let every public method and property of a class, and its constructor, compute in `exact` arithmetic."""
    for name, value in list(vars(kind).items()):
        if name.startswith("_") and name not in ("__init__", "_install"):
            continue
        if isinstance(value, types.FunctionType):
            setattr(kind, name, exactly(value))
        elif isinstance(value, property) and value.fget is not None:
            setattr(kind, name, property(exactly(value.fget), value.fset, value.fdel, value.__doc__))
        elif isinstance(value, classmethod):
            setattr(kind, name, classmethod(exactly(value.__func__)))
    return kind
