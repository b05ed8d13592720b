"""Views: a second module tree over the same tensors.

The base model is never written. Hooks and replaced parameters live on a view, which is a copy of
the module tree that shares every parameter with the base, so other threads see nothing of it.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["base_of", "shared_copy"]

# The base is found through the view, not kept inside the module tree: an attribute holding a module
# would make the base a child of its own view.
_bases: weakref.WeakKeyDictionary[nn.Module, weakref.ref[nn.Module]] = weakref.WeakKeyDictionary()


def _shared_tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    for module in model.modules():
        # Normalisation statistics are written by a forward pass in training mode. Shared, a view
        # that somebody trains would write them into the base; they are small, so the view owns them.
        if not isinstance(module, _NormBase):
            yield from module.buffers(recurse=False)


def shared_copy(model: nn.Module) -> nn.Module:
    """Copy the module tree of `model`; share its parameters and buffers.

    Takes milliseconds and next to no memory, whatever the size of the model. Running statistics of
    normalisation layers are the exception: the copy has its own.
    """
    memo: dict[int, object] = {id(tensor): tensor for tensor in _shared_tensors(model)}
    with torch.no_grad():
        view = copy.deepcopy(model, memo)
    _bases[view] = weakref.ref(model)
    return view


def base_of(model: nn.Module) -> nn.Module:
    """Return the model that `model` is a view of, or `model` itself."""
    reference = _bases.get(model)
    base = reference() if reference is not None else None
    return model if base is None else base
