"""Interleaved measurement: both sides in turn, so that a noisy machine disturbs both alike."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Samples:
    """What one side took, run by run."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def take(self, function: Callable[[], Any], repeat: int = 1) -> Any:
        """Run `function` and note the seconds per call; return its last result."""
        gc.collect()
        gc.disable()
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeat):
                result = function()
            self.wall.append((time.perf_counter() - wall) / repeat)
            self.cpu.append((time.process_time() - cpu) / repeat)
        finally:
            gc.enable()
        return result

    @property
    def median(self) -> float:
        return statistics.median(self.wall)


@dataclass
class Duel:
    """Two sides of one comparison."""

    ours: Samples
    theirs: Samples

    def ratios(self, kind: str = "wall") -> list[float]:
        """Return theirs / ours for every run of ours; a slow peer's missing runs count as its median."""
        ours, theirs = getattr(self.ours, kind), getattr(self.theirs, kind)
        middle = statistics.median(theirs)
        return [(theirs[i] if i < len(theirs) else middle) / own for i, own in enumerate(ours)]

    def scaled(self, factor: float) -> Duel:
        """Return the duel against `factor` calls of their side."""
        theirs = Samples([t * factor for t in self.theirs.wall], [t * factor for t in self.theirs.cpu])
        return Duel(self.ours, theirs)


def duel(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    *,
    runs: int,
    budget: float = float("inf"),
    repeat: int = 1,
    repeat_theirs: int = 1,
) -> Duel:
    """Measure both sides in turn, `runs` times, after one unmeasured call of ours.

    Args:
        ours: one side.
        theirs: the other side.
        runs: measured runs of each.
        budget: seconds after which their side is run no more (it is always run once).
        repeat: calls of ours per run, for what takes milliseconds.
        repeat_theirs: the same for their side.
    """
    result = Duel(Samples(), Samples())
    ours()
    for run in range(runs):
        sides = [lambda: result.ours.take(ours, repeat)]
        spent = sum(result.theirs.wall) * repeat_theirs
        # One more run of a slow side is begun only if it should end within its budget.
        if not run or spent + spent / run <= budget:
            sides.append(lambda: result.theirs.take(theirs, repeat_theirs))
        for side in sides if run % 2 == 0 else reversed(sides):
            side()
    return result


class Interference:
    """How much of the machine other processes used between creation and reading."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        path = Path("/proc/stat")
        if not path.exists():
            return time.perf_counter(), 0.0, 0.0
        user, nice, system, _idle, _iowait, irq, softirq, *_ = path.read_text().split("\n", 1)[0].split()[1:]
        busy = sum(map(int, (user, nice, system, irq, softirq))) / os.sysconf("SC_CLK_TCK")
        own = os.times()
        return time.perf_counter(), busy, own.user + own.system + own.children_user + own.children_system

    @property
    def cores(self) -> float:
        """Return how many cores' worth of time went to others."""
        wall, busy, own = (now - then for now, then in zip(self._now(), self._start, strict=True))
        return max(0.0, (busy - own) / wall)
