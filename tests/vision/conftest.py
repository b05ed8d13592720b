"""A folder of pictures, one folder in it for each of three classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import png


@pytest.fixture
def root(tmp_path) -> Path:
    for number, label in enumerate(("cat", "dog", "owl")):
        (tmp_path / "p" / label).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "p" / label / f"{i}.png").write_bytes(png(10 * number + i))
    return tmp_path / "p"
