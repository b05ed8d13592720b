"""One call of a model: its arguments, and how they are divided among the inputs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import NonFiniteError

__all__ = ["Batch", "Cut", "Key", "check_values", "is_dense", "pieces"]


Key = int | str
"""An argument of a call: its position, or its name."""


@dataclass(frozen=True)
class Cut:
    """How a set of inputs is divided.

    Attributes:
        axis: the dimension along which the inputs lie; None: the set is one input, and is never divided.
        along: the arguments that have one part per input; the others go along whole. None: all whose size
            in that dimension is that of the leading tensor.
    """

    axis: int | None = 0
    along: frozenset[Key] | None = None


@dataclass(frozen=True)
class Batch:
    """One call of the model.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments.
        size: number of inputs.
        cut: how it could be divided.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    size: int
    cut: Cut = Cut()

    def items(self) -> Iterator[tuple[Key, Any]]:
        """Yield every argument with its position or name."""
        yield from enumerate(self.args)
        yield from self.kwargs.items()

    def map(self, change: Callable[[Key, Any], Any], *, size: int | None = None) -> Batch:
        """Return the batch with every argument changed.

        Args:
            change: called with position or name, and value.
            size: number of inputs afterwards (default: the same).
        """
        return replace(
            self,
            args=tuple(change(i, v) for i, v in enumerate(self.args)),
            kwargs={k: change(k, v) for k, v in self.kwargs.items()},
            size=self.size if size is None else size,
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch with every tensor on `device`, those inside its arguments too.

        Args:
            device: where to.
        """
        return self.map(lambda _, value: _each(value, lambda tensor: tensor.to(device)))

    def unshared(self) -> Batch:
        """Return a batch that a pass may write to: what was given is the caller's.

        A model may fill a cache that it is handed, or change its inputs in place. What cannot be copied is
        handed over as it is.
        """
        return self.map(lambda _, value: _copied(value))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor, also those inside arguments, with the position or name of the argument."""
        for key, value in self.items():
            yield from _inside(f"argument {key!r}", value)

    def leading(self) -> tuple[Key, Tensor]:
        """Return the tensor that says how many inputs there are: the first that is no mask.

        Raises:
            LookupError: if no argument is a tensor with a dimension.
        """
        found = [(k, v) for k, v in self.items() if isinstance(v, Tensor) and v.ndim and is_dense(v)]
        found = [(k, v) for k, v in found if "mask" not in str(k).lower()] or found
        if not found:
            raise LookupError("no tensor")
        return found[0]

    def along(self, axis: int) -> list[Key]:
        """Return the arguments that may have one part per input, by their size; the leading one first.

        Args:
            axis: the dimension along which the inputs lie.
        """
        key, lead = self.leading()
        if lead.ndim <= axis:
            return []
        size = lead.shape[axis]
        fits = [
            k
            for k, v in self.items()
            if k != key and any(t.ndim > axis and t.shape[axis] == size for _, t in _inside("", v))
        ]
        return [key, *fits]

    def divided(self, cut: Cut) -> Batch:
        """Return the batch with the number of inputs that follows from how it is divided.

        Args:
            cut: how it is divided.
        """
        if cut.axis is None:
            return replace(self, size=1, cut=cut)
        lead = self.leading()[1]
        return replace(self, size=int(lead.shape[cut.axis]), cut=cut)

    def take(self, index: Tensor) -> Batch:
        """Return the call of some of its inputs, by number.

        Args:
            index: numbers of the inputs, (n,).
        """
        axis = self.cut.axis
        if axis is None:
            return self
        along = self.along(axis) if self.cut.along is None else self.cut.along
        size = self.leading()[1].shape[axis]

        def pick(tensor: Tensor) -> Tensor:
            if not is_dense(tensor) or tensor.ndim <= axis or tensor.shape[axis] != size:
                return tensor
            return tensor.index_select(axis, index.to(tensor.device))

        return self.map(lambda k, v: _each(v, pick) if k in along else v, size=len(index))


def is_dense(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary one, neither sparse nor nested.

    Args:
        tensor: any tensor.
    """
    return tensor.layout == torch.strided and not tensor.is_nested


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever a class says against being copied; tensors that are results of a computation
        return _each(value, torch.clone)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change every tensor inside an argument; what holds none is returned as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if not any(True for _ in _inside("", value)):
        return value
    if isinstance(value, Mapping):
        changed = copy.copy(value)
        for key, item in value.items():
            changed[key] = _each(item, change)  # type: ignore[index]
        return changed
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_each(item, change) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_each(item, change) for item in value)
    changed = copy.copy(value)
    for field in dataclasses.fields(value):
        object.__setattr__(changed, field.name, _each(getattr(value, field.name), change))
    return changed


def _inside(label: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield label, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inside(f"{label}[{key!r}]", item)
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _inside(f"{label}[{place}]", item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _inside(f"{label}.{field.name}", getattr(value, field.name, None))


def pieces(batch: Batch, size: int) -> Iterator[Batch]:
    """Divide a set into batches of at most `size` inputs.

    Args:
        batch: the set.
        size: most inputs in a call.

    Yields:
        The batches, in order.
    """
    if batch.size <= size or batch.cut.axis is None:
        yield batch
        return
    axis = batch.cut.axis
    along = batch.along(axis) if batch.cut.along is None else batch.cut.along

    def part(key: Key, value: Any, start: int) -> Any:
        if key not in along:
            return value

        def narrow(tensor: Tensor) -> Tensor:
            fits = is_dense(tensor) and tensor.ndim > axis and tensor.shape[axis] == batch.size
            return tensor.narrow(axis, start, min(size, batch.size - start)) if fits else tensor

        return _each(value, narrow)

    for start in range(0, batch.size, size):
        count = min(size, batch.size - start)
        yield batch.map(lambda k, v, start=start: part(k, v, start), size=count)  # type: ignore[misc]


def check_values(batch: Batch, concept: str) -> None:
    """Raise NonFiniteError for NaN or infinity; −∞ is allowed outside the leading tensor, as in a mask.

    Args:
        batch: the call.
        concept: its name, for the message.
    """
    try:
        lead: Tensor | None = batch.leading()[1]
    except LookupError:
        lead = None
    for label, tensor in batch.tensors():
        if tensor.layout != torch.strided:
            tensor = tensor.values() if tensor.layout == torch.sparse_csr else tensor.coalesce().values()
        if not (tensor.is_floating_point() or tensor.is_complex()) or torch.isfinite(tensor).all():
            continue
        blocked = torch.isneginf(tensor) if tensor.is_floating_point() else torch.zeros(())
        if tensor is lead or not (torch.isfinite(tensor) | blocked.bool()).all():
            raise NonFiniteError(f"Concept {concept!r}: {label} holds NaN or infinity. Clean the inputs.")
