"""What lies at a path, as a short text: another text, another content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engram_core.opening.samples import missing_samples, sample_folder, sample_names

__all__ = ["content_at", "is_sample", "model_content", "path_of", "same_path"]


def content_at(path: Path, *, deep: bool = True) -> str:
    """Return a text that stands for what lies at a path; "" for nothing that can be read."""
    try:
        if path.is_file():
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        if not path.is_dir():
            return ""
        entries = sorted(path.rglob("*") if deep else path.iterdir())
        return "\n".join(_stamp(entry, path) for entry in entries if entry.is_file())
    except (OSError, ValueError):
        return ""  # reading it says what is wrong


def path_of(text: str) -> Path:
    """Return the path that somebody typed; `~` is their home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or nobody's home
        return Path(text)


def same_path(text: str) -> str:
    """Return one text for all ways to name what lies at a path; a text that names nothing stays itself."""
    path = path_of(text)
    try:
        return str(path.resolve(strict=True))
    except (OSError, ValueError, RuntimeError):
        return text


def _stamp(file: Path, root: Path) -> str:
    found = file.stat()
    return f"{file.relative_to(root)}\t{found.st_size}\t{found.st_mtime_ns}"


def is_sample(model: str) -> bool:
    """Return whether a model is named as a bundled sample, wherever a folder of that name may lie."""
    return model in (*sample_names(), *missing_samples())


def model_content(model: str, folder: Path | None) -> str:
    """Return a text that stands for what a model is made of; "" for nothing that can be read.

    Args:
        model: local folder or file, hub name, or the name of a sample.
        folder: where a model that is named by its hub name was found.
    """
    if is_sample(model):
        # It holds the SHA-256 of the sample's other files, and loading compares them.
        return content_at(sample_folder(model) / "config.json")
    path = path_of(model)
    try:
        if path.is_file():
            return _stamp(path, path.parent)
        if path.is_dir():
            folder = path
    except (OSError, ValueError):
        return ""
    # Only files at its top are read; below a folder named by mistake may lie a whole disk.
    return "" if folder is None else content_at(folder, deep=False)
