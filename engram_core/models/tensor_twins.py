"""Tensors of a view that are no parameters: equal to the base's, and never the base's own memory.

A forward pass may write any tensor it can reach: running statistics, counters, key-value caches. A view
therefore gets twins of them. Small ones are copied. Large ones are copied by torch when one side writes for
the first time (copy-on-write storages), so that a view of a model with a cache of gigabytes costs nothing.
"""

from __future__ import annotations

import copy
import threading
import weakref

import torch
from torch import Tensor, UntypedStorage, nn
from torch.nn.parameter import is_lazy

__all__ = ["TensorTwins", "extent"]

# Storages of fewer bytes are copied at once. torch cannot resize a copy-on-write storage in place, which
# models do, if at all, to small tensors.
_SMALL = 1 << 20

# torch turns the base's storage into a copy-on-write one, which two threads must not do at a time.
_turn = threading.Lock()

# Of storages that torch cannot share so (shared or mapped memory, NumPy's), one copy is kept for all views.
_masters: weakref.WeakKeyDictionary[nn.Module, dict[int, Tensor]] = weakref.WeakKeyDictionary()


def _is_simple(tensor: Tensor) -> bool:
    """Whether a tensor is nothing but a window on its storage."""
    return (
        type(tensor) is Tensor
        and tensor.layout is torch.strided
        and not (tensor.is_quantized or tensor.is_meta or tensor.is_nested)
        and not (tensor.is_conj() or tensor.is_neg())
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def extent(tensor: Tensor) -> tuple[int, int]:
    """Return the first byte of a simple tensor in its storage, and the byte after its last.

    Args:
        tensor: any tensor.
    """
    if not tensor.numel():
        return 0, 0
    size, first = tensor.element_size(), int(tensor.storage_offset())
    last = first + sum(int(n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return size * first, size * (last + 1)


def _window(storage: UntypedStorage, like: Tensor, shift: int = 0) -> Tensor:
    """Return the tensor that sees `storage` as `like` sees its own, `shift` elements earlier."""
    empty = torch.empty(0, dtype=like.dtype, device=like.device)
    return empty.set_(storage, like.storage_offset() - shift, like.shape, like.stride())


class TensorTwins:
    """Makes the twins of one copy of a module tree; tensors with common memory have twins with common memory.

    Args:
        model: the base.
        copy_parameters: whether parameters get twins, too, and nothing is shared with the base; otherwise
            they are shared, and with them every tensor that is a window on one.
    """

    def __init__(self, model: nn.Module, *, copy_parameters: bool):
        self._model, self._copies = model, copy_parameters
        self._stores: dict[int, UntypedStorage | None] = {}
        self._parameters: dict[int, list[nn.Parameter]] = {}  # by storage
        self.replaced: dict[int, tuple[Tensor, Tensor]] = {}  # parameters that got twins, and these
        self._written = _written(model)
        self._kept: dict[int, Tensor] | None = None  # the masters that this copy uses
        for parameter in model.parameters():
            if not is_lazy(parameter) and _is_simple(parameter.data):
                key = parameter.untyped_storage()._cdata
                self._parameters.setdefault(key, []).append(parameter)

    def twin(self, tensor: Tensor) -> Tensor:
        """Return the twin of a tensor; the tensor itself if it is shared.

        Args:
            tensor: the base's.
        """
        if isinstance(tensor, nn.Parameter) or is_lazy(tensor):
            return self._parameter(tensor)
        if not _is_simple(tensor):
            return self._odd(tensor)
        if not tensor.is_leaf:  # the result of a computation, whose gradient may be wanted
            if not self._copies and self._shared(tensor):
                return tensor
            with torch.enable_grad():
                return tensor.detach().clone() if self._copies else tensor.clone()
        found = self._simple(tensor)
        if found is not tensor and tensor.requires_grad:
            found.requires_grad_()
        return found

    def _parameter(self, parameter: Tensor) -> Tensor:
        # What has no shape yet is given one in place, by the first forward pass.
        lazy = is_lazy(parameter)
        if not self._copies and not lazy and id(parameter) not in self._written:
            return parameter
        if id(parameter) not in self.replaced:
            self.replaced[id(parameter)] = (parameter, copy.deepcopy(parameter, {}))
        return self.replaced[id(parameter)][1]

    def _odd(self, tensor: Tensor) -> Tensor:
        try:
            return copy.deepcopy(tensor, {}) if tensor.is_leaf else tensor.detach().clone()
        except Exception:
            try:
                return tensor.detach().clone()
            except Exception:  # kinds that can be neither copied nor, therefore, written
                return tensor

    def _shared(self, tensor: Tensor) -> nn.Parameter | None:
        """Return a parameter whose memory a tensor is a window on."""
        start, stop = extent(tensor)
        for parameter in self._parameters.get(tensor.untyped_storage()._cdata, ()):
            first, last = extent(parameter.data)
            if start < last and first < stop:
                return parameter
        return None

    def _simple(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata in self._parameters:
            parameter = self._shared(tensor)
            if parameter is None:  # beside parameters, and none of their memory
                return tensor.detach().clone()
            twin = self._parameter(parameter)
            if twin is parameter:
                return tensor
            return self._beside(tensor, parameter, twin)
        if storage._cdata not in self._stores:
            self._stores[storage._cdata] = self._store(storage, tensor)
        store = self._stores[storage._cdata]
        return tensor.detach().clone() if store is None else _window(store, tensor)

    @staticmethod
    def _beside(tensor: Tensor, parameter: nn.Parameter, twin: Tensor) -> Tensor:
        """Return the window on a parameter's twin that `tensor` is on the parameter."""
        one, other = extent(tensor), extent(parameter.data)
        inside = other[0] <= one[0] and one[1] <= other[1] and tensor.dtype == parameter.dtype
        if not inside or not parameter.is_contiguous() or not twin.is_contiguous():
            return tensor.detach().clone()
        return _window(
            twin.untyped_storage(), tensor, int(parameter.storage_offset() - twin.storage_offset())
        )

    def _store(self, storage: UntypedStorage, tensor: Tensor) -> UntypedStorage | None:
        """Return a storage with the bytes of `storage`; None if each tensor had better be copied alone."""
        whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
        if whole.numel() < _SMALL:
            return whole.clone().untyped_storage()
        start, stop = extent(tensor)
        if self._copies:
            return whole.clone().untyped_storage() if whole.numel() < 4 * (stop - start) else None
        lazy = _lazy(whole)
        if lazy is None:
            if whole.numel() >= 4 * (stop - start):
                return None
            lazy = _lazy(self._master(storage, whole))
        return (whole.clone() if lazy is None else lazy).untyped_storage()

    def _master(self, storage: UntypedStorage, whole: Tensor) -> Tensor:
        """Return the one copy of a storage that all views of this base start from."""
        if self._kept is None:
            self._before, self._kept = _masters.get(self._model, {}), {}
            _masters[self._model] = self._kept
        known = self._before.get(storage._cdata)
        if known is None or known.shape != whole.shape or not torch.equal(known, whole):
            known = whole.clone()
        self._kept[storage._cdata] = known
        return known


def _lazy(whole: Tensor) -> Tensor | None:
    """Return a copy that torch makes when it, or what it is of, is first written; None if it cannot."""
    clone = getattr(torch, "_lazy_clone", None)
    if clone is None or whole.device.type not in ("cpu", "cuda"):
        return None
    try:
        with _turn:
            return clone(whole)
    except RuntimeError:  # memory that is not torch's own
        return None


def _written(model: nn.Module) -> frozenset[int]:
    """Return the ids of parameters that a forward pass writes: embeddings that bound their rows' norms."""
    kinds = (nn.Embedding, nn.EmbeddingBag)
    bounded = [m for m in model.modules() if isinstance(m, kinds) and m.max_norm is not None]
    return frozenset(id(p) for module in bounded for p in module._parameters.values())
