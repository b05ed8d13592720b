"""An uploaded file, put where the core can read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engram_core.errors import EngramError
from engram_core.storing.workplaces import Scratch

__all__ = ["upload"]


def upload(name: str, content: bytes) -> tuple[str, Callable[[], None]]:
    """Put an uploaded file where the core can read it; return its path and what removes it."""
    scratch: Scratch | None = None
    try:
        scratch = Scratch("upload")
        # Only its ending is taken from the visitor: it says what the file is.
        path = scratch.path / f"concepts{Path(name).suffix.lower()[:8]}"
        path.write_bytes(content)
    except OSError as error:
        if scratch is not None:
            scratch.delete()
        raise EngramError(f"The server has no room for the file: {error.strerror or error}.") from error
    return str(path), scratch.delete
