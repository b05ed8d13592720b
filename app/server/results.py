"""What was computed, by key: the memory of the core's steps, bounded and shared by all visitors."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import fields, is_dataclass
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

import engram_core as ec
from engram_core.concepts.tasks import Subject

from .fair_lock import COMPUTE_LOCK

__all__ = ["Remembered", "size_of"]

_REMEMBERED = 4096  # results per model, most of them one row or one layer of a table
_BYTES = 256 * 2**20  # of results per model; beyond that the oldest go


class Remembered:
    """The most recent results by key, bounded in number and in bytes; safe between threads.

    It is a `Memory` of the core's steps.
    """

    def __init__(self, size: int = _REMEMBERED, most_bytes: int = _BYTES) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # with its bytes
        self._bytes = 0

    def get(self, key: Hashable) -> Any | None:
        """Return the result, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key, (None, 0))[0]

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a result, and let the oldest go; what has grown since is put again, to be weighed again."""
        size = size_of(value)
        with self._lock:
            self._bytes += size - self._values.pop(key, (None, 0))[1]
            self._values[key] = value, size
            while len(self._values) > 1 and (
                len(self._values) > self._size or self._bytes > self._most_bytes
            ):
                self._bytes -= self._values.popitem(last=False)[1][1]

    def made(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the result of a key, made now, alone on the machine, if it is not there yet."""
        value = self.get(key)
        if value is None:
            with COMPUTE_LOCK:
                value = self.get(key)
                if value is None:
                    value = make()
                    self.put(key, value)
        return value


def size_of(value: Any) -> int:
    """Return about how many bytes a result takes; models and inputs are the base's own and count nothing."""
    if isinstance(value, Subject | ec.Concept | ec.ConceptSet):
        return 0
    if isinstance(value, pd.DataFrame):
        # A cell of text is a pointer and, by and large, a short string.
        return sum((8 if is_numeric_dtype(kind) else 70) * len(value) for kind in value.dtypes)
    if isinstance(value, Future):
        return size_of(value.result()) if value.done() and value.exception() is None else 0
    if isinstance(value, str | bytes):
        return 50 + len(value)
    if isinstance(value, dict):
        return 64 + sum(size_of(part) for part in value.values())
    if isinstance(value, list | tuple):
        return 64 + sum(size_of(part) for part in value)
    own = getattr(value, "nbytes", None)  # arrays, tensors, atlases
    if isinstance(own, int):
        return own
    if is_dataclass(value) and not isinstance(value, type):
        return 64 + sum(size_of(getattr(value, part.name)) for part in fields(value))
    return 64
