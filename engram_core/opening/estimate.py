"""Estimate what recording and solving will take, from a few inputs that go through the model by the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..concepts.concepts import ConceptSet
from ..concepts.inspection import few_inputs
from ..models.layers import list_layers
from ..models.usage import NEVER_CALLED
from ..recording.record import record
from ..recording.recording import Recording

__all__ = ["NOT_CALLED", "TimedRecording", "estimated_layers", "solve_seconds", "timed_recording"]

NOT_CALLED = "not called with the few inputs tried"
"""Reason of a layer that may yet be called when everything is recorded."""

_TRIED = 8  # inputs that go through the model at first
_ENOUGH = 0.1  # seconds that are long enough to tell
_EACH = 1e-3  # seconds per concept and layer input, measured on authors-lm (100 concepts)
# An eigendecomposition of D × D takes as long as this many D³ multiply-adds of a product (measured: 5 to 10).
_EIGH = 8


@dataclass(frozen=True)
class TimedRecording:
    """A few inputs recorded by the clock.

    Attributes:
        recording: what was recorded of them.
        rows: how many rows they are.
        seconds: how long that took.
    """

    recording: Recording
    rows: int
    seconds: float


def timed_recording(model: nn.Module, concepts: ConceptSet, inputs: int) -> TimedRecording:
    """Record a few inputs by the clock, more of them where the model is fast.

    Args:
        model: the model.
        concepts: from which inputs are drawn.
        inputs: how many there are in all.

    Returns:
        The recording, with the seconds it took and the inputs it saw.

    Raises:
        EngramError: see `record`.
    """
    count, rows_before = _TRIED, 0
    while True:
        few, rows = few_inputs(model, concepts, count)
        if not rows_before:
            record(model, few)
        start = time.perf_counter()
        recording = record(model, few)
        seconds = time.perf_counter() - start
        # Of a fast model a few inputs would time the calls and not the work.
        if seconds > _ENOUGH or count >= inputs or rows == rows_before:
            return TimedRecording(recording, rows, seconds)
        count, rows_before = 8 * count, rows


def estimated_layers(model: nn.Module, timed: TimedRecording | None, units: dict[str, int]) -> pd.DataFrame:
    """Return one row per layer with what its engrams will need (see `CheckUp.layers`).

    Args:
        model: the model.
        timed: of a few inputs; None if nothing could be recorded.
        units: rows that a layer reads at every position, by concept.
    """
    columns = [
        "layer", "kind", "covered", "reason", "width", "outputs", "rows", "form", "bytes", "shares",
    ]  # fmt: skip
    recording = None if timed is None else timed.recording
    rows: list[tuple[Any, ...]] = []
    first_of: dict[int, str] = {}
    for info in list_layers(model) if recording is None else recording.layers:
        if timed is None or recording is None or info.name not in recording.source_of:
            silent = info.reason == NEVER_CALLED
            reason = NOT_CALLED if silent else info.reason
            rows.append((info.name, info.kind, info.covered or silent, reason, info.width, info.outputs,
                         0, "", 0, ""))  # fmt: skip
            continue
        key = recording.source_of[info.name]
        source = recording.sources[key]
        each = source.count / timed.rows
        counts = [round(each * n) for n in units.values()]
        total, width = sum(counts), int(info.width or source.columns)
        folded = [n for n in counts if n >= source.columns]
        dual = total < width and not folded
        shared = first_of.setdefault(key, info.name)
        size = 0 if shared != info.name else _bytes(counts, folded, width, source.groups, dual)
        rows.append((info.name, info.kind, True, "", info.width, info.outputs, total,
                     "dual" if dual else "primal", size, "" if shared == info.name else shared))  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _bytes(counts: list[int], folded: list[int], width: int, groups: int, dual: bool) -> int:
    """Return the bytes of statistics and solution of one layer input (rows float32, the rest float64)."""
    few = sum(counts) - sum(folded)
    kept = 4 * few * width + 8 * len(folded) * width**2
    if dual:
        total = sum(counts)
        return groups * (kept + 2 * 4 * total * width + 2 * 8 * total**2)
    # The total's eigenvectors, and per concept its second moment, or its rows and their duals.
    return groups * (kept + 8 * width**2 + 8 * len(folded) * width**2 + 2 * 4 * few * width)


def solve_seconds(table: pd.DataFrame, concepts: int) -> float:
    """Return about how many seconds it takes to extract all engrams.

    Args:
        table: from `estimated_layers`.
        concepts: how many there are.
    """
    rate = _multiply_adds_per_second()
    work, solved = 0.0, table[table["bytes"] > 0]
    for row in solved.itertuples():
        n, d = float(row.rows), float(row.width)  # type: ignore[arg-type]
        work += n * n * d + n**3 if row.form == "dual" else _EIGH * d**3 + n * d * d
    return work / rate + _EACH * concepts * len(solved)


def _multiply_adds_per_second() -> float:
    size = 320
    matrix = torch.ones(size, size, dtype=torch.float64)
    matrix @ matrix
    start = time.perf_counter()
    for _ in range(3):
        matrix @ matrix
    return 3 * size**3 / max(time.perf_counter() - start, 1e-6)
