"""Tensors that are worth keeping while room lasts: one room for the whole process, counted in bytes.

cachetools keeps count and drops what was used longest ago. Our own is what it leaves to the caller: the lock,
and that what nobody can ask for any more goes with the cache it was in.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable

from cachetools import Cache, LRUCache
from torch import Tensor

__all__ = ["TensorCache"]

_ROOM = 512 << 20  # bytes, over all caches together

_Key = tuple[int, Hashable]

_held: LRUCache[_Key, Tensor] = LRUCache(_ROOM, getsizeof=lambda tensor: tensor.nbytes)
_lock = threading.Lock()
_ended: deque[int] = deque()  # numbers of caches that are gone
_numbers = itertools.count()


class TensorCache:
    """A part of the room that one owner asks for by keys of its own."""

    def __init__(self) -> None:
        self._number = next(_numbers)
        weakref.finalize(self, _end, self._number).atexit = False

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Return what is kept under `key`, or make it; it is kept unless it is larger than the whole room."""
        place = (self._number, key)
        with _lock:
            found = _held.get(place)
        if found is None:
            found = make()  # outside the lock: it may take seconds
            with _lock:
                if found.nbytes <= _held.maxsize:
                    _held[place] = found
        _let_go()
        return found

    @property
    def nbytes(self) -> int:
        """Bytes that this owner's tensors take."""
        with _lock:
            mine = [place for place in _held if place[0] == self._number]
            return sum(Cache.__getitem__(_held, place).nbytes for place in mine)  # looking is no use


def _end(number: int) -> None:
    _ended.append(number)
    _let_go()


def _let_go() -> None:
    # A cache may end in the middle of a change to what is held: then whoever is at it comes here next.
    while _ended and _lock.acquire(blocking=False):
        try:
            number = _ended.popleft()
            for place in [place for place in _held if place[0] == number]:
                del _held[place]
        finally:
            _lock.release()
