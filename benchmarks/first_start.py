"""What the first start of SmolLM2 waits for: its 24 concepts recorded and extracted, without a cache."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import torch

import engram_core as ec

from .cases import Row
from .timing import Samples

EXTRACT_SECONDS, BOTH_SECONDS = 18.0, 28.0
"""Wanted on two cores with nothing else running."""


def rows(runs: int) -> Iterator[Row]:
    """Measure recording and extraction on all threads, then on one, as the app sets PyTorch."""
    sample = ec.load_sample("smollm2-135m")
    threads = torch.get_num_threads()
    for used in sorted({threads, 1}, reverse=True):
        torch.set_num_threads(used)
        try:
            recorded, extracted = _measure(sample, max(1, runs // 2))
        finally:
            torch.set_num_threads(threads)
        label = f"SmolLM2-135M, its {len(sample.concepts)} concepts, PyTorch on {used} of {threads} threads"
        yield _row(f"{label}: extract", [extracted], EXTRACT_SECONDS)
        yield _row(f"{label}: record and extract", [recorded, extracted], BOTH_SECONDS)


def _measure(sample: Any, runs: int) -> tuple[Samples, Samples]:
    recorded, extracted = Samples(), Samples()
    for _ in range(runs):
        recording = recorded.take(lambda: ec.record(sample.model, sample.concepts))
        extracted.take(lambda recording=recording: ec.extract(sample.model, recording))
    return recorded, extracted


def _row(case: str, parts: list[Samples], wanted: float) -> Row:
    walls = [sum(values) for values in zip(*(part.wall for part in parts), strict=True)]
    cpu = statistics.median(sum(values) for values in zip(*(part.cpu for part in parts), strict=True))
    return Row(
        case, f"{statistics.median(walls):.3g} s ({cpu:.3g} s of CPU time)", f"{wanted:g} s wanted",
        [wanted / wall for wall in walls], target=1, inverse=True, runs=(len(walls), 0),
    )  # fmt: skip
