"""Views: a second module tree beside the base.

The base model is never written. Hooks and replaced parameters live on a view, which is a copy of the module
tree that shares every parameter with the base and has twins of all else (see `twins`), so that neither a
forward pass of the view nor other threads reach the base.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .twin_kinds import is_compiled
from .twins import Twins

__all__ = [
    "base_of",
    "device_of",
    "evaluated",
    "independent_copy",
    "parameter_of_base",
    "model_bytes",
    "plain_path",
    "refresh",
    "shared_copy",
    "submodule",
    "walk",
]

_WINDOW = "_engram_window"
_COMPILED = "_orig_mod"  # what torch.compile calls the module it wraps
_STATE = frozenset(vars(nn.Module()))  # what every module has: dictionaries of parameters, hooks, children
# What belongs to the view itself and is no state that a forward pass reads.
_MINE = frozenset(
    {"training", "forward", "_parameters", "_modules", "_compiled_call_impl", _WINDOW, "engram_edit"}
)


class _Window:
    """What a view knows of its base. It holds the base: undo relies on it, whoever else lets it go.

    Kept in the view's own dictionary, and no module itself, it makes the base no child of its view; the base
    knows nothing of it, so that a view that is dropped is gone.
    """

    def __init__(self, base: nn.Module | None):
        self.base = base
        # The modules of the base, and of the view: weakly, so that a view goes when it is let go.
        self.pairs: list[tuple[nn.Module, weakref.ref[nn.Module]]] = []
        self.replaced: dict[
            int, tuple[Tensor, Tensor]
        ] = {}  # parameters that are not shared, and their twins

    def __deepcopy__(self, memo: dict[int, Any]) -> _Window:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _Window, (None,)


def _window(model: nn.Module) -> _Window | None:
    found = vars(model).get(_WINDOW)
    return found if isinstance(found, _Window) else None


def _uncompiled(module: nn.Module) -> nn.Module:
    while is_compiled(module):
        module = module._modules[_COMPILED]  # type: ignore[assignment]
    return module


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside a compiled or parallel one."""
    while True:
        if is_compiled(model):
            model = _uncompiled(model)
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def plain_path(path: str) -> str:
    """Return the path that a module or parameter has without compilation: compiled parts add a step to it.

    Args:
        path: of a module, as ``named_modules`` gives it.
    """
    return ".".join(part for part in path.split(".") if part != _COMPILED)


def walk(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module once, with its path; a compiled part is the module that was compiled.

    Args:
        model: any model.
    """
    for name, module in model.named_modules():
        if not is_compiled(module):
            yield plain_path(name), module


def submodule(model: nn.Module, path: str) -> nn.Module:
    """Return the module at a path, compiled or not.

    Args:
        model: any model or view.
        path: of the module; empty for the model itself.
    """
    return _uncompiled(model.get_submodule(path))


def shared_copy(model: nn.Module) -> nn.Module:
    """Copy the module tree of `model`; share its parameters, and nothing that a forward pass writes.

    Takes milliseconds and next to no memory, whatever the size of the model: large buffers and caches are
    copied when they are first written. Objects that cannot be copied are shared.

    Args:
        model: any model.

    Returns:
        The view.

    Raises:
        EngramError: if a module refuses every way of being copied, or holds an edited view.
    """
    model = _unwrapped(model)
    with torch.inference_mode(False), torch.no_grad():
        twins = Twins(model)
        view = twins.twin(model)
        window = _Window(base_of(model))
        for _, module in walk(model):
            window.pairs.append((module, weakref.ref(twins.twin(module))))
        window.replaced = twins.replaced
    vars(view)[_WINDOW] = window
    return view


def independent_copy(model: nn.Module) -> nn.Module:
    """Copy `model` with its parameters; what cannot be copied (locks, files …) is shared.

    Args:
        model: any model or view.

    Returns:
        The copy.
    """
    with torch.inference_mode(False), torch.no_grad():
        copied = Twins(_unwrapped(model), copy_parameters=True).twin(_unwrapped(model))
    vars(copied).pop(_WINDOW, None)
    return copied


def base_of(model: nn.Module) -> nn.Module:
    """Return the model that `model` is a view of, or `model` itself, without what only says how to run it.

    Args:
        model: any model or view.
    """
    model = _unwrapped(model)
    window = _window(model)
    return model if window is None or window.base is None else window.base


def parameter_of_base(view: nn.Module, parameter: nn.Parameter | None) -> nn.Parameter | None:
    """Return what an unedited view has in the place of a parameter of its base: that, or a twin of it.

    Args:
        view: the view.
        parameter: the base's, or None.
    """
    window = _window(view)
    known = None if window is None else window.replaced.get(id(parameter))
    return parameter if known is None else known[1]  # type: ignore[return-value]


def refresh(view: nn.Module) -> None:
    """Give a view the state its base is in now: buffers, counters, caches, whatever its own passes wrote.

    Parameters, mode, children and hooks that were added to the view stay as they are.

    Args:
        view: the view.
    """
    window = _window(view)
    if window is None or window.base is None:
        return
    with torch.inference_mode(False), torch.no_grad():
        twins = Twins(window.base)
        pairs = [(base, mine) for base, held in window.pairs if (mine := held()) is not None]
        for base, mine in pairs:
            twins.take(base, mine)
        for base, mine in pairs:
            _refresh(twins, base, mine)


def _refresh(twins: Twins, base: nn.Module, mine: nn.Module) -> None:
    theirs, state = vars(base), vars(mine)
    for name in [n for n, v in state.items() if n not in theirs and n not in _MINE]:
        if not name.startswith("_engram") and not callable(state[name]):
            del state[name]
    for name, value in list(theirs.items()):
        if name in _MINE:
            continue
        if name == "_buffers":
            for key, buffer in list(value.items()):
                mine._buffers[key] = None if buffer is None else twins.twin(buffer)
        elif name not in _STATE:
            state[name] = twins.twin(value)
        elif name.endswith("_hooks") and value:
            hooks = state[name]
            hooks.update({key: twins.twin(hook) for key, hook in list(value.items()) if key in hooks})


def model_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model have.

    Args:
        model: any model.
    """
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def device_of(model: nn.Module) -> torch.device:
    """Return where a model takes its inputs: the device of its first parameter or buffer that has data.

    Args:
        model: any model.
    """
    tensors: Iterator[Tensor] = (t for part in (model.parameters(), model.buffers()) for t in part)
    return next((t.device for t in tensors if not t.is_meta), torch.device("cpu"))


@contextmanager
def evaluated(model: nn.Module) -> Iterator[nn.Module]:
    """Give a model in evaluation mode that may be run without writing the base.

    A base is run through a view of its own. A view is run itself, and each of its modules set back to the
    mode it had, whatever happens.

    Args:
        model: any model or view.

    Yields:
        A view of the model, or the model itself if it may be run.
    """
    model = _unwrapped(model)
    if base_of(model) is model:
        yield shared_copy(model).eval()
        return
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield model
    finally:
        for module in training:
            module.training = True
