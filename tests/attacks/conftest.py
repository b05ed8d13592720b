"""Attacks on a running server. All of them go to 127.0.0.1, and every loop has an end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, running


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server of a file prints."""
    return tmp_path_factory.mktemp("server") / "server.log"


@pytest.fixture(scope="module")
def server(log: Path) -> Iterator[Server]:
    """A server as `engram app` starts it."""
    with running(log) as started:
        yield started


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as `engram app --demo` starts it."""
    with running(tmp_path_factory.mktemp("screen") / "server.log", demo=True) as started:
        yield started
