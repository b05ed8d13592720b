"""Manifests: what an entry of the cache holds, and whether every file of it is what was written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import StorageError
from .files import new_file

__all__ = ["MANIFEST", "is_whole", "read_manifest", "sha256", "write_manifest"]

MANIFEST = "engram-manifest.json"
_TICK = 50_000_000  # ns; file systems tell times apart no finer than some milliseconds


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an entry; None if it is missing or no such manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sums = manifest["sha256"]
        # Names only: a path could lead out of the folder.
        good = all(Path(name).name == name and isinstance(digest, str) for name, digest in sums.items())
        return manifest if sums and good else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_whole(folder: Path) -> bool:
    """Return whether every file of an entry is there and is what was written.

    A file whose size and times are those it was written with is taken for the same; any other is read and
    compared, so that a cache that was copied is checked once and a changed byte is found.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    stamps, read = manifest.get("stamps"), False
    stamps = stamps if isinstance(stamps, dict) else {}
    try:
        written = (folder / MANIFEST).stat().st_mtime_ns
        for name, digest in manifest["sha256"].items():
            stamp = _stamp(folder / name)
            # What changed in the same moment as the manifest bears the same time.
            if stamps.get(name) == stamp and stamp[2] + _TICK < written:
                continue
            if sha256(folder / name) != digest:
                return False
            read = True
    except OSError:
        return False
    if read:
        with contextlib.suppress(StorageError):  # a cache that cannot be written is read again each time
            write_manifest(folder, manifest)
    return True


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of an entry, with the sizes and times of its files.

    Raises:
        StorageError: if it cannot be written.
    """
    stamps = {name: _stamp(folder / name) for name in manifest["sha256"]}
    with new_file(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest | {"stamps": stamps}, indent=1), encoding="utf-8")
