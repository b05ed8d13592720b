"""The first rows of a file that a visitor gives, before anything is read of it."""

from __future__ import annotations

from pathlib import Path

from engram_core.language.dataset_names import dataset_file, is_fetched
from engram_core.opening.preview import HEAD, Preview, preview

from .content import path_of

__all__ = ["Preview", "preview_of_path", "preview_of_upload"]


def preview_of_upload(name: str, content: bytes) -> Preview | None:
    """Return the first rows of an uploaded file; None if it has none."""
    return preview(content, Path(name).suffix)


def preview_of_path(text: str) -> Preview | None:
    """Return the first rows of a file on this machine; None if there is none, or it has none."""
    if is_fetched(text):
        text = str(dataset_file(text))
    path = path_of(text)
    try:
        if not path.is_file():  # nor a pipe, which nobody may ever write to
            return None
        with open(path, "rb") as file:
            return preview(file.read(HEAD), path.suffix)
    except (OSError, ValueError):
        return None  # reading it says what is wrong
