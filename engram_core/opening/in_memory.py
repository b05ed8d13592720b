"""Models that live in this process, by the names under which the explorer finds them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..concepts.sample import Sample
from ..errors import DataError
from .samples import missing_samples, sample_names

__all__ = ["InMemory", "hold", "in_memory", "let_go", "names_in_memory"]

_LONGEST = 80  # characters of a name; it stands in addresses


@dataclass(frozen=True)
class InMemory:
    """A model that somebody holds in memory.

    Attributes:
        sample: the model with its concepts.
        code: the line of Python that makes ``sample`` again, for whoever copies the code below a figure.
        version: tells it from others that had its name before.
    """

    sample: Sample
    code: str
    version: int


_lock = threading.Lock()
_versions: Iterator[int] = itertools.count(1)
_models: dict[str, InMemory] = {}


def hold(sample: Sample, *, code: str) -> InMemory:
    """Hold a model under its name; it takes the place of the one that had that name.

    Args:
        sample: the model with its concepts.
        code: the line of Python that makes ``sample`` again.

    Returns:
        What is held. Its sample has the name as it stands in addresses.

    Raises:
        DataError: if the name is empty or that of a bundled sample.
    """
    name = " ".join(sample.name.split())[:_LONGEST]
    if not name:
        raise DataError("A model needs a name of at least one letter: name=….")
    if name in (*sample_names(), *missing_samples()):
        raise DataError(f"{name!r} is the name of a bundled sample; give another one: name=….")
    with _lock:
        held = _models[name] = InMemory(replace(sample, name=name), code, next(_versions))
    return held


def in_memory(name: str) -> InMemory | None:
    """Return what is held under a name, or None.

    Args:
        name: of the model.
    """
    return _models.get(name)


def names_in_memory() -> list[str]:
    """Return the names of all models held, the newest first."""
    with _lock:
        return list(reversed(_models))


def let_go(held: InMemory) -> None:
    """Let go of a model, unless another one has its name by now.

    Args:
        held: from `hold`.
    """
    with _lock:
        if _models.get(held.sample.name) is held:
            del _models[held.sample.name]
