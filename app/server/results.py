"""What was computed, remembered by key and made in portions, so that nobody holds up the others for long."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

import engram_core as ec
from engram_core.concepts.tasks import Subject

from .turns import HEAVY, Report, in_turns

__all__ = ["Remembered", "size_of"]

_REMEMBERED = 4096  # results per model, most of them one row or one layer of a table
_BYTES = 256 * 2**20  # of results per model; beyond that the oldest go


class Remembered:
    """The most recent results by key, bounded in number and in bytes; safe between threads."""

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
            with HEAVY:
                value = self.get(key)
                if value is None:
                    value = make()
                    self.put(key, value)
        return value

    def each(
        self, keys: Mapping[str, Hashable], make: Callable[[str], Any], doing: str
    ) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """Make the result of every name that is not there yet.

        Yields the share done, what is being done, and the results so far by name.
        """
        found: dict[str, Any] = {}
        for name, key in keys.items():
            if self.get(key) is None:
                yield len(found) / len(keys), f"{doing} {name}", found
            found[name] = self.made(key, partial(make, name))
        yield 1.0, "", found

    def each_in_turns(
        self, keys: Mapping[str, Hashable], make: Callable[[str, Report], Any], doing: str
    ) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """Do as `each` does with results that take long each: within one there are turns and steps too.

        Args:
            keys: what each name is remembered under.
            make: makes the result of a name, and reports (see `in_turns`).
            doing: what is said before the name.
        """
        found: dict[str, Any] = {}
        for name, key in keys.items():
            one = self.get(key)
            if one is None:
                yield len(found) / len(keys), f"{doing} {name}", found
                for share, _, one in in_turns(partial(make, name)):  # noqa: B007
                    if share < 1:
                        yield (len(found) + share) / len(keys), f"{doing} {name}", found
                self.put(key, one)
            found[name] = one
        yield 1.0, "", found

    def once(
        self, key: Hashable, make: Callable[[Report], Any], doing: str
    ) -> Iterator[tuple[float, str, Any]]:
        """Make one result that is not there yet in turns with others; yields as `in_turns` does."""
        found = self.get(key)
        if found is None:
            for share, said, found in in_turns(make):  # noqa: B007
                if share < 1:
                    yield share, f"{doing}: {said}" if said else doing, None
            self.put(key, found)
        yield 1.0, "", found

    def steps(
        self, key: Hashable, work: Callable[[], Iterator[tuple[float, Any]]]
    ) -> Iterator[tuple[float, Any]]:
        """Yield the share done and what is known of a result, at the end the whole; only that is kept.

        A page can stop between two steps when its visitor has moved on.
        """
        found = self.get(key)
        if found is None:
            for share, found in work():
                if share < 1:
                    yield share, found
            self.put(key, found)
        yield 1.0, found


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
