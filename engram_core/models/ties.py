"""Find what else in a model holds a weight: an edit of a tied layer would change another one as well."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .view import plain_path, walk

__all__ = ["WeightOwners"]


class WeightOwners:
    """Where every parameter and buffer of a model lies, so that ties are found however they were made.

    Two names of one module are one layer. Two modules are tied if they hold one parameter, or parameters over
    the same memory, slices of one another included.
    """

    def __init__(self, model: nn.Module) -> None:
        self._at: dict[int, list[tuple[int, str, str, Tensor]]] = {}
        self._paths: dict[int, list[str]] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(id(module), []).append(plain_path(name))
        for name, module in walk(model):
            stem = f"{name}." if name else ""
            for attribute, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and not is_lazy(tensor):
                    entry = (id(module), attribute, stem + attribute, tensor)
                    self._at.setdefault(_storage(tensor), []).append(entry)

    def other(self, layer: nn.Module, owner: nn.Module, attribute: str, weight: Tensor) -> str:
        """Return the path under which something else holds a weight of a layer; empty if nothing does.

        Args:
            layer: the layer.
            owner: the module that holds the weight: the layer, or a part of it.
            attribute: as what it does.
            weight: the weight.
        """
        names = self._paths.get(id(layer), ())
        for path in self._paths.get(id(owner), ()):
            inside = any(not name or path == name or path.startswith(name + ".") for name in names)
            computes = "parametrizations" in path.split(".")
            # What computes the weight of one layer may be a layer itself.
            if (computes and owner is layer) or (not inside and type(layer) is not nn.MultiheadAttention):
                return f"{path}.{attribute}"
        for module, name, path, tensor in self._at.get(_storage(weight), ()):
            if (module, name) != (id(owner), attribute) and _overlap(weight, tensor):
                return path
        return ""


def _storage(tensor: Tensor) -> int:
    if tensor.is_meta:
        return id(tensor)
    try:
        return tensor.untyped_storage().data_ptr() or id(tensor)
    except (NotImplementedError, RuntimeError):  # sparse and quantised ones may have none
        return id(tensor)


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one storage have an element in common."""
    if a is b or a.is_meta or b.is_meta:
        return a is b
    if a.element_size() != b.element_size():
        return True  # one memory read in two types
    spans = [
        (
            t.storage_offset(),
            t.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)),
        )
        for t in (a, b)
        if t.numel()
    ]
    if len(spans) < 2 or spans[0][1] <= spans[1][0] or spans[1][1] <= spans[0][0]:
        return False
    if a.is_contiguous() and b.is_contiguous():
        return True
    start = min(first for first, _ in spans)  # columns of one matrix lie between each other without meeting
    taken = torch.zeros(max(last for _, last in spans) - start, dtype=torch.bool, device="cpu")
    taken.as_strided(a.shape, a.stride(), a.storage_offset() - start).fill_(True)
    return bool(taken.as_strided(b.shape, b.stride(), b.storage_offset() - start).any())
