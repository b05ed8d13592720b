"""A cache of a test's own, and a count of the models that are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from engram_core.opening import prepared as preparing
from engram_core.storing import cache


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A cache of this test's own, which keeps what took no time too."""
    monkeypatch.setenv("ENGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(preparing, "_WORTH", 0.0)
    monkeypatch.setattr(cache, "_swept", set())
    return tmp_path / "cache"


@pytest.fixture
def records(monkeypatch) -> list[int]:
    """One entry per model that was recorded."""
    made: list[int] = []
    real = preparing.record
    monkeypatch.setattr(preparing, "record", lambda *a, **o: (made.append(1), real(*a, **o))[1])
    return made
