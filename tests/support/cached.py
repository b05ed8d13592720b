"""Entries of a cache, made in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from engram_core.storing import cache, cache_settings
from engram_core.storing.cache import (
    store,
)

DATA = bytes(range(256)) * 40


def put(name: str, size: int = len(DATA), **options: str) -> Path | None:
    def write(folder: Path) -> None:
        (folder / "data").write_bytes((DATA * (size // len(DATA) + 1))[:size])
        (folder / "more").write_text("more")

    return store(name, write, size=size, **({"kind": "engrams", "of": "a model"} | options))


def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test an empty cache of its own, and return where it lies."""
    monkeypatch.setenv("ENGRAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache_settings, "_said", set())
    monkeypatch.setattr(cache, "_swept", set())
    return tmp_path / "cache"
