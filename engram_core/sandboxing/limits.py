"""Run a function in a process of its own, with limits of time and memory: for files that come from others.

What a foreign folder can do to whoever opens it (build for minutes, allocate gigabytes, end the process) it
does there. The process has a session and a temporary folder of its own and none of the caller's secrets, is
told to stay off the network, and dies with the caller. What comes back is JSON.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngramError

__all__ = ["GB", "Limits", "free_bytes"]

_LONGEST = 1800.0  # seconds, unless the environment says otherwise
GB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What a process may take.

    Attributes:
        seconds: by the clock, its start included.
        memory: bytes of its own; files that are mapped do not count.
    """

    seconds: float
    memory: int

    @classmethod
    def for_bytes(cls, weights: int, data: int = 0) -> Limits:
        """Return limits for reading so many bytes of weights and of texts or pictures, and a short trial.

        ``ENGRAM_CHECK_SECONDS`` and ``ENGRAM_CHECK_MEMORY`` (in GB) stand before what is computed here.

        Args:
            weights: bytes of the model's weights.
            data: bytes of the concepts.
        """
        # What is read a few times over; a file can claim any size, so there is an end to it.
        seconds = min(120 + 120 * weights / GB + 6 * data / 2**20, _LONGEST)
        # Weights in two bytes become float32, and a copy is made on the way.
        memory = 2 * GB + 6 * weights + 40 * data
        free = free_bytes()
        if free is not None:
            memory = min(memory, max(GB, int(0.8 * free)))
        given = _of_environment("ENGRAM_CHECK_SECONDS"), _of_environment("ENGRAM_CHECK_MEMORY")
        return cls(given[0] or seconds, int((given[1] or 0) * GB) or memory)


def _of_environment(name: str) -> float | None:
    given = os.environ.get(name, "")
    try:
        value = float(given) if given else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 < value < 1e9:
        raise EngramError(f"{name} should be a number above 0; found {given[:40]!r}.")
    return value


def free_bytes() -> int | None:
    """Return how much memory is free, where the system says so (Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
