"""Long work as a generator of steps, which a caller drains, a page shows and stops, and a bar is drawn from.

Whatever takes long is a generator: it yields a `Step` between two pieces of work and returns its result. The
function that returns at the end drains the same generator, so the two cannot differ. Closing a generator
stops the work; with a `Memory`, whoever begins it again finds what was done before.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

__all__ = [
    "Memory",
    "Progress",
    "Recent",
    "Step",
    "Steps",
    "Stop",
    "drain",
    "each",
    "nested",
    "once",
    "watch",
]

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int | None, str], None]
"""Called with (done, total or None, what is being done)."""

Stop = Callable[[], bool]
"""Asked between two pieces of work; True ends it with what there is."""


@dataclass(frozen=True)
class Step(Generic[T]):
    """Where some work stands between two pieces of it.

    Attributes:
        done: how much is done, in the unit of `total`; a fraction within a piece.
        total: how much there is to do, or None where nobody knows.
        what: what is being done.
        partial: the result so far; None where there is none yet.
        long: whether the next piece cannot be divided and may take seconds. Who takes turns with others
            should not keep them waiting for it.
    """

    done: float
    total: int | None
    what: str
    partial: T | None = None
    long: bool = False

    @property
    def share(self) -> float:
        """The share done, in [0, 1]; 0 where nobody knows."""
        return min(1.0, self.done / self.total) if self.total else 0.0


Steps: TypeAlias = Generator[Step[T], None, T]
"""Work that yields its steps and returns its result."""


class Memory(Protocol):
    """Where results are looked up and put, so that work that was left goes on where it was."""

    def get(self, key: Hashable) -> Any | None:
        """Return the result of a key, or None."""
        ...

    def put(self, key: Hashable, value: Any) -> None:
        """Remember a result."""
        ...


class Recent:
    """A memory of everything, for one piece of work."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable) -> Any | None:
        """Return the result of a key, or None."""
        return self._values.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Remember a result."""
        self._values[key] = value


def watch(steps: Generator[Step[Any], None, R], see: Callable[[Step[Any]], object]) -> R:
    """Work to the end and return the result; an error of `see` stops the work at once.

    Args:
        steps: the work.
        see: called with every step.

    Returns:
        The result of the work.
    """
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: R = end.value
                return result
            see(step)


def drain(steps: Generator[Step[Any], None, R], progress: Progress | None = None) -> R:
    """Work to the end and return the result.

    Args:
        steps: the work.
        progress: called whenever another piece is done.

    Returns:
        The result of the work.
    """
    reached = 0

    def tell(step: Step[Any]) -> None:
        nonlocal reached
        if progress is not None and int(step.done) != reached:
            reached = int(step.done)
            progress(reached, step.total, step.what)

    return watch(steps, tell)


def nested(
    steps: Generator[Step[Any], None, R],
    *,
    done: float = 0.0,
    size: float = 1.0,
    total: int | None = 1,
    what: str = "",
    partial: T | None = None,
) -> Generator[Step[T], None, R]:
    """Do some work as a piece of a larger one, and return its result.

    Args:
        steps: the work within.
        done: how much of the larger work was done before.
        size: how much of it this is.
        total: how much there is to do in all.
        what: what the larger work calls this piece; default what the piece says itself.
        partial: the result of the larger work so far.

    Yields:
        The steps within, as steps of the larger work.

    Returns:
        The result of the work within.
    """
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: R = end.value
                return result
            yield Step(done + size * step.share, total, what or step.what, partial, step.long)


def once(
    memory: Memory, key: Hashable, work: Callable[[], Generator[Step[T], None, R]]
) -> Generator[Step[T], None, R]:
    """Return what is remembered under a key; without it, do the work and remember its result.

    A result is remembered whole or not at all: work that is stopped leaves nothing.

    Yields:
        The steps of the work, if it is done.
    """
    found: R | None = memory.get(key)
    if found is None:
        found = yield from work()
        memory.put(key, found)
    return found


def each(
    memory: Memory,
    keys: Iterable[tuple[str, Hashable]],
    make: Callable[[str], R],
    *,
    what: str,
    long: bool = False,
) -> Generator[Step[dict[str, R]], None, dict[str, R]]:
    """Make one result after the other and return them all by name; what is remembered takes no time.

    Args:
        memory: where results are looked up and put.
        keys: every name with what its result is remembered under.
        make: makes the result of a name.
        what: what is said before the name.
        long: whether one takes seconds.

    Yields:
        A step before every result that is made, and one when all are there.

    Returns:
        The results by name.
    """
    places = list(keys)
    found: dict[str, R] = {}
    made = ""
    for name, key in places:
        known: R | None = memory.get(key)
        if known is None:
            yield Step(len(found), len(places), f"{what} {name}", dict(found), long)
            known = make(made := name)
            memory.put(key, known)
        found[name] = known
    if made:
        yield Step(len(found), len(places), f"{what} {made}", dict(found))
    return found
