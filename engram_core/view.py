"""Views: a second module tree over the same tensors.

The base model is never written. Hooks and replaced parameters live on a view, which is a copy of
the module tree that shares every parameter with the base, so other threads see nothing of it.
"""

from __future__ import annotations

import copy
import weakref
from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["base_of", "own_copy", "shared_copy"]

# The base is found through the view, not kept inside the module tree: an attribute holding a module
# would make the base a child of its own view.
_bases: weakref.WeakKeyDictionary[nn.Module, weakref.ref[nn.Module]] = weakref.WeakKeyDictionary()


_COPYING = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__new__")
_STATE = frozenset(vars(nn.Module()))  # what every module has: dictionaries of parameters, hooks, children
_ATOMS = (bool, int, float, str, type(None), torch.dtype, torch.device)


def _shared_tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    for module in model.modules():
        # Normalisation statistics are written by a forward pass in training mode. Shared, a view
        # that somebody trains would write them into the base; they are small, so the view owns them.
        if not isinstance(module, _NormBase):
            yield from module.buffers(recurse=False)
        # Results of a computation kept as plain attributes (pruning and the older weight norm keep the
        # weight so) cannot be copied by deepcopy.
        yield from _computed([v for k, v in vars(module).items() if k not in _STATE])


def _computed(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if not value.is_leaf:
            yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _computed(item)
    elif type(value) is dict:
        yield from _computed(list(value.values()))


def shared_copy(model: nn.Module) -> nn.Module:
    """Copy the module tree of `model`; share its parameters and buffers.

    Takes milliseconds and next to no memory, whatever the size of the model. Running statistics of
    normalisation layers are the exception: the copy has its own.
    """
    memo: dict[int, object] = {id(tensor): tensor for tensor in _shared_tensors(model)}
    with torch.no_grad():
        view = _copy_tree(model, memo)
    _bases[view] = weakref.ref(model)
    return view


def own_copy(model: nn.Module) -> nn.Module:
    """Copy `model` with its parameters."""
    computed = _computed([v for m in model.modules() for k, v in vars(m).items() if k not in _STATE])
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in computed})


def _copy_tree(module: nn.Module, memo: dict[int, object]) -> nn.Module:
    """Do what ``copy.deepcopy(module, memo)`` does, several times faster.

    Most of a module's state is empty dictionaries and atoms, which need no general machinery.
    Classes that say how they are copied are left to it.
    """
    kind = type(module)
    plain = all(getattr(kind, name) is getattr(nn.Module, name) for name in _COPYING)
    if id(module) in memo or not plain or hasattr(kind, "__deepcopy__"):
        return copy.deepcopy(module, memo)
    twin = kind.__new__(kind)
    memo[id(module)] = twin
    state = twin.__dict__
    for name, value in vars(module).items():
        if type(value) in _ATOMS:
            state[name] = value
        elif name == "_modules":
            state[name] = type(value)((k, v and _copy_tree(v, memo)) for k, v in value.items())
        elif name == "_parameters":
            state[name] = type(value)(value)  # shared, every one
        elif type(value) in (dict, OrderedDict, set) and not value:
            state[name] = type(value)()
        else:
            state[name] = copy.deepcopy(value, memo)
    return twin


def base_of(model: nn.Module) -> nn.Module:
    """Return the model that `model` is a view of, or `model` itself."""
    reference = _bases.get(model)
    base = reference() if reference is not None else None
    return model if base is None else base
