"""Turn what people give as inputs into calls of a model, or say what is wrong with it.

One set of inputs is a tensor, a tuple of positional arguments or a mapping of keyword arguments. A list or
any other iterable holds such sets, each of them one call (a *batch*), as a DataLoader gives them. Arrays
become tensors, vectors in a list are single inputs, and the list that a DataLoader makes of a tuple is a
tuple.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .batch import Batch, Cut, is_dense

__all__ = [
    "MODEL_ERRORS",
    "Inputs",
    "as_batch",
    "is_set",
    "sets_of",
]

Inputs = Tensor | tuple | Mapping | Iterable
"""Whatever :func:`sets_of` can turn into batches."""

# What a forward pass raises when the inputs are not what the model takes.
MODEL_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


_WIDER = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64, "longdouble": np.float64}


def _tensor(array: np.ndarray, where: str) -> Tensor:
    """Turn any array of numbers into a tensor: reversed, big-endian and read-only ones as well."""
    if array.dtype.kind not in "biufc":
        raise DataError(
            f"{where} is an array of {array.dtype}, which are no numbers. Give numbers of one type: "
            "np.stack(…) makes one array of many, .astype('float32') changes the type."
        )
    kind = array.dtype.newbyteorder("=")
    if array.dtype.kind in "fc" and array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        kind = np.dtype(np.complex128 if array.dtype.kind == "c" else np.float64)
    kind = np.dtype(_WIDER.get(kind.name, kind))
    if kind != array.dtype or any(step < 0 for step in array.strides):
        return torch.from_numpy(np.array(array, dtype=kind, order="C"))
    with warnings.catch_warnings():
        # That the array is read-only: nothing here writes to it, and one that lies in a file need not be
        # copied.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _value(value: Any, where: str) -> Any:
    """Return one argument as the model gets it."""
    if isinstance(value, (np.ndarray, np.generic)) and (value.ndim or isinstance(value, np.ndarray)):
        return _tensor(np.asarray(value), where)
    if isinstance(value, Tensor):
        if value.is_nested:
            raise DataError(
                f"{where} is a nested tensor. Give a list of batches, or pad it: .to_padded_tensor(0)."
            )
        if value.is_meta:
            raise DataError(
                f"{where} is a tensor on the meta device: it has a shape and no values. Load the data."
            )
        if value.is_quantized:
            raise DataError(f"{where} is a quantised tensor. Give its values: .dequantize().")
    return value


def _name_of(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ in ("builtins", "torch") else f"{kind.__module__}.{kind.__name__}"


_FIELDS = " Give its fields as a mapping of keyword arguments, or the object itself in a tuple: (x,)."


def as_batch(value: Any, label: str) -> Batch:
    """Turn a tensor, an array, a tuple of arguments or a mapping of keyword arguments into a call.

    Args:
        value: what was given; a list of tensors counts as a tuple, which is what a DataLoader makes of one.
        label: name of the concept for error messages.

    Returns:
        The call.

    Raises:
        DataError: if it is something else, or holds no tensor.
    """
    where = f"Concept {label!r}: "
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(value, (Tensor, np.ndarray)):
        args = (value,)
    elif isinstance(value, tuple):
        args = tuple(value)
    elif isinstance(value, Mapping):
        kwargs = dict(value)
    elif isinstance(value, list) and value and all(isinstance(v, (Tensor, np.ndarray)) for v in value):
        args = tuple(value)
    else:
        hint = ""
        if isinstance(value, (list, float, int)):
            hint = " Make numbers a tensor: torch.tensor(…)."
        elif hasattr(value, "convert") and hasattr(value, "getpixel"):
            hint = " Turn the picture into the tensor that the model reads."
        elif dataclasses.is_dataclass(value):
            hint = _FIELDS
        raise DataError(
            f"{where}a batch must be a tensor, a tuple of arguments or a mapping of keyword arguments; "
            f"found {_name_of(value)}.{hint}"
        )
    if any(not isinstance(key, str) for key in kwargs):
        odd = next(key for key in kwargs if not isinstance(key, str))
        raise DataError(f"{where}a mapping names the model's arguments; found the key {odd!r}.")
    args = tuple(_value(v, f"{where}argument {i}") for i, v in enumerate(args))
    kwargs = {k: _value(v, f"{where}argument {k!r}") for k, v in kwargs.items()}
    batch = Batch(args, kwargs, 0)
    try:
        key, lead = batch.leading()
    except LookupError:
        for key, found in batch.items():
            if isinstance(found, Tensor) and not is_dense(found):
                raise DataError(
                    f"{where}argument {key!r} is a sparse tensor ({found.layout}). Give it dense: "
                    f".to_dense()."
                ) from None
        inner = next(batch.tensors(), None)
        if inner is not None and inner[1].ndim:
            return replace(batch, size=1, cut=Cut(None))
        held = ", ".join(f"{k!r} ({_name_of(v)})" for k, v in batch.items()) or "nothing"
        raise DataError(
            f"{where}a batch holds no tensor with a batch dimension; found {held}. Give the numbers as a "
            "tensor or an array."
        ) from None
    return replace(batch, size=int(lead.shape[0]))


def is_set(inputs: Any) -> bool:
    """Return whether this is one set of inputs, and no list of batches.

    Args:
        inputs: what was given.
    """
    return isinstance(inputs, (Tensor, np.ndarray, tuple, Mapping))


def sets_of(inputs: Inputs, label: str, batch_size: int) -> Iterator[tuple[Batch, bool]]:
    """Yield the sets of inputs, each with whether it may be divided; batches that are given are not.

    Args:
        inputs: see the module's first lines. An iterator is consumed.
        label: name of the concept for error messages.
        batch_size: how many single vectors of a list make one set.

    Raises:
        DataError: for anything else.
    """
    if is_set(inputs):
        yield as_batch(inputs, label), True
        return
    if isinstance(inputs, (str, bytes)) or not isinstance(inputs, Iterable) or _is_table(inputs):
        raise DataError(
            f"Concept {label!r}: inputs must be a tensor, a batch or an iterable of batches; "
            f"found {_name_of(inputs)}.{_instead_of(inputs)}"
        )
    waiting: list[Tensor] = []

    def stacked() -> Iterator[tuple[Batch, bool]]:
        if waiting:
            yield replace(as_batch(torch.stack(waiting), label), cut=Cut(0, frozenset([0]))), False
        waiting.clear()

    for item in inputs:
        vector = _vector(item, label)
        if vector is None:
            yield from stacked()
            yield as_batch(item, label), False
            del item  # what was read is let go before the next is made
            continue
        first = waiting[0] if waiting else vector
        if len(waiting) == batch_size or (first.shape, first.dtype) != (vector.shape, vector.dtype):
            yield from stacked()
        waiting.append(vector)
    yield from stacked()


def _is_table(inputs: Any) -> bool:
    """Whether this is a table such as pandas', which iterates over the names of its columns."""
    return hasattr(inputs, "to_numpy") and hasattr(inputs, "columns")


def _instead_of(inputs: Any) -> str:
    """Say what to give instead of an object that holds inputs in a way of its own."""
    if _is_table(inputs):
        return " Give its numbers: table.to_numpy()."
    if hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__") and not isinstance(inputs, (str, bytes)):
        return " Read a data set through a loader: torch.utils.data.DataLoader(dataset, batch_size=64)."
    return _FIELDS if dataclasses.is_dataclass(inputs) else ""


def _vector(item: Any, label: str) -> Tensor | None:
    """Return an item of a list that is one input by itself, because it has no dimension for more."""
    if not isinstance(item, (Tensor, np.ndarray)) or item.ndim != 1:
        return None
    found = as_batch(item, label).args[0]
    if found.is_floating_point():
        return found
    raise DataError(
        f"Concept {label!r}: a list holds whole numbers of shape {tuple(found.shape)}, which may be one "
        f"input or "
        "many. Give one input as x[None], with a batch dimension, and a batch of numbers as a tuple: (x,)."
    )
