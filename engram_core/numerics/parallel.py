"""Several decompositions at once, each on one thread.

A second thread makes a decomposition of some hundred rows hardly faster, and on a machine with other work
much slower, since its threads wait for each other. Two decompositions side by side take half as long as one
after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["solve_each"]

Key = TypeVar("Key")
Found = TypeVar("Found")

# Rows above which one decomposition is given all threads: its blocks are large enough to share.
_LARGE = 2048
_BYTES = 1 << 30  # what all that run at once may hold: some five float64 matrices each
_WORTH = 1 << 28  # cubed rows, in all, below which starting threads costs more than it saves


def solve_each(
    solve: Callable[[Key], Found], keys: Sequence[Key], sizes: Sequence[int], done: Callable[[Key], None]
) -> dict[Key, Found]:
    """Solve for every key; several at once where that pays.

    As many run at once as the libraries of this process may use threads: PyTorch, or the one that
    decomposes, as the machine, ``OMP_NUM_THREADS`` and the like set it.

    Args:
        solve: called once per key, on any thread. What it raises for the first key that fails is raised here.
        keys: what to solve for.
        sizes: for each key, rows of the matrix that is decomposed; 0: not on the CPU.
        done: called in this thread after every solve; what it raises ends the work.

    Returns:
        What was found for each key, in the order of `keys`.
    """
    small = {key: size for key, size in zip(keys, sizes, strict=True) if 0 < size <= _LARGE}
    found: dict[Key, Found] = {}
    threads = 1
    if sum(size**3 for size in small.values()) >= _WORTH:
        threads = min(_BLAS.threads, len(small), _BYTES // (40 * max(small.values()) ** 2))
    if threads > 1:
        with _BLAS.single(), _Pool(threads) as pool:
            for key, future in [(key, pool.submit(solve, key)) for key in small]:
                found[key] = future.result()
                done(key)
    for key in keys:
        if key not in found:
            found[key] = solve(key)
            done(key)
    return {key: found[key] for key in keys}


class _Pool(ThreadPoolExecutor):
    """Threads in which PyTorch uses one thread each; the thread that makes the pool keeps what it has."""

    def __init__(self, threads: int) -> None:
        self._ready = threading.Barrier(threads + 1)
        super().__init__(threads, "solving", initializer=self._begin)
        self._own = torch.get_num_threads()
        for _ in range(threads):  # the pool starts a thread per call while none is idle, and none is before
            self.submit(int)
        self._ready.wait()
        # The number is each thread's own, but a thread that starts later would begin with the last one set.
        torch.set_num_threads(self._own)

    def _begin(self) -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # from here on this thread's number is settled
        self._ready.wait()

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


class _Blas:
    """The threads of the linear algebra libraries, which are the whole process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before: int | None = None  # while they are held at one

    @cached_property
    def _libraries(self) -> ThreadpoolController:
        return ThreadpoolController().select(user_api="blas")

    @property
    def threads(self) -> int:
        """How many threads PyTorch or a library may use; at least 1."""
        with self._lock:
            return max(torch.get_num_threads(), self._counted() if self._before is None else self._before)

    def _counted(self) -> int:
        return max((library["num_threads"] for library in self._libraries.info()), default=1)

    @contextmanager
    def single(self) -> Iterator[None]:
        """Let every library use one thread.

        Of several callers at once the first sets this and sets it back, so that it can never stay; the others
        are then as right and a little slower.
        """
        with self._lock:
            first = self._before is None
            if first:
                self._before = self._counted()
        if not first:
            yield
            return
        try:
            with self._libraries.limit(limits=1):
                yield
        finally:
            with self._lock:
                self._before = None


_BLAS = _Blas()
