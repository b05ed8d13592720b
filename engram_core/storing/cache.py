"""What took long and can be had again, kept on this machine's disk: converted models, solved engrams.

Every entry is a folder with a manifest: written whole or not at all, checked when it is read, removed when it
is damaged or when others need its room. Without a place to write, everything works as before, only slower.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, StorageError, suggest
from .cache_settings import DEFAULT_LIMIT, cache_folder, cache_limit, say_once
from .files import discard, new_folder, reason
from .locks import locked
from .manifests import MANIFEST, is_whole, read_manifest, sha256, write_manifest
from .workplaces import sweep

__all__ = [
    "MANIFEST",
    "Entry",
    "clear",
    "discard",
    "entries",
    "age",
    "find",
    "is_whole",
    "store",
    "only_one",
    "sha256",
    "slug",
]

_LOG = logging.getLogger(__name__)

_USED = "used"  # its time of change is when the entry was last opened
_SHARE = 0.5  # of what is free beside the cache and what it holds, at most

_swept: set[Path] = set()


# -- where ----------------------------------------------------------------------------------------


def slug(name: str) -> str:
    """Return a name as the start of a folder's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-")[:40] or "model"


def _swept_folder() -> Path | None:
    """Return the folder; at the first time, free of what ended processes left in it."""
    root = cache_folder()
    if root is not None and root not in _swept:
        _swept.add(root)
        for path in sweep(root):
            _LOG.info("Removed %s, which a process that ended had left behind.", path)
        with contextlib.suppress(OSError):
            for path in root.glob(".*.lock"):
                with locked(path, patience=0.0):
                    pass
    return root


# -- entries --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One thing that is kept.

    Attributes:
        name: of its folder.
        folder: where it is.
        kind: ``"model"`` or ``"engrams"``.
        of: the model it belongs to, as it was called.
        about: what it is, in a few words.
        size: bytes.
        made: when, seconds since 1970.
        used: when last.
    """

    name: str
    folder: Path
    kind: str
    of: str
    about: str
    size: int
    made: float
    used: float


def _entry(folder: Path) -> Entry | None:
    try:
        written = (folder / MANIFEST).stat().st_mtime
        used = (folder / _USED).stat().st_mtime if (folder / _USED).exists() else written
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    except OSError:
        return None
    told = read_manifest(folder) or {}  # damaged, or of an earlier version: what there was then
    made = told.get("made")
    return Entry(
        folder.name, folder, str(told.get("kind", "model")), str(told.get("of", folder.name[:-17])),
        str(told.get("about", "")), size, float(made) if isinstance(made, int | float) else written, used,
    )  # fmt: skip


def entries() -> list[Entry]:
    """Return what is kept, the last used first; folders that are no entry of ours are left out."""
    root = cache_folder()
    try:
        folders = [] if root is None else [f for f in root.iterdir() if (f / MANIFEST).is_file()]
    except OSError:
        return []
    found = [entry for folder in folders if (entry := _entry(folder)) is not None]
    return sorted(found, key=lambda entry: (-entry.used, entry.name))


def clear(names: Iterable[str] | None = None) -> list[Entry]:
    """Remove entries, and what ended processes left behind.

    Args:
        names: of entries or of models; default all.

    Returns:
        What was removed.

    Raises:
        UnknownNameError: if nothing of a name is kept.
        StorageError: if an entry cannot be removed.
    """
    kept = entries()
    chosen = kept
    if names is not None:
        chosen = []
        for name in dict.fromkeys(names):
            mine = [entry for entry in kept if name in (entry.name, entry.of)]
            if not mine:
                raise suggest("kept entry", name, [*(e.of for e in kept), *(e.name for e in kept)])
            chosen += [entry for entry in mine if entry not in chosen]
    root = cache_folder()
    if root is not None:
        sweep(root)
    for entry in chosen:
        discard(entry.folder)
        if (entry.folder / MANIFEST).exists():
            raise StorageError(f"Could not remove {entry.folder}: it may belong to somebody else.")
    return chosen


# -- reading --------------------------------------------------------------------------------------


def find(name: str) -> Path | None:
    """Return the folder of an entry that is whole; what is there and is damaged is removed."""
    root = _swept_folder()
    if root is None or not (root / name).exists():
        return None
    if not is_whole(root / name):
        discard(root / name)
        return None
    with contextlib.suppress(OSError):
        (root / name / _USED).touch()
    return root / name


# -- writing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def only_one(name: str, waiting: Callable[[float], None] | None = None) -> Iterator[bool]:
    """Let one process at a time, and one thread, make an entry; the next one then finds it made.

    Args:
        name: of the entry.
        waiting: see `locks.locked`.

    Yields:
        Whether it is held: False too where nothing is kept.
    """
    root = _swept_folder()
    if root is None or not _made(root):
        yield False
        return
    with locked(root / f".{name}.lock", waiting=waiting) as held:
        yield held


def _made(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        say_once(f"{root} cannot be written ({error.strerror}), so nothing is kept for the next start. "
                  "Set ENGRAM_CACHE=FOLDER to keep it elsewhere.")  # fmt: skip
        return False
    return True


def store(
    name: str, write: Callable[[Path], None], *, size: int, kind: str, of: str, about: str = ""
) -> Path | None:
    """Keep something; what was used longest ago goes if there is no room for it otherwise.

    Args:
        name: of the entry; the first to write one of a name wins.
        write: fills a folder with files.
        size: about how many bytes these have.
        kind: see `Entry`.
        of: see `Entry`.
        about: see `Entry`.

    Returns:
        The folder, or None if it could not be kept; the log says why, once.
    """
    root = _swept_folder()
    if root is None or not _made(root):
        return None
    folder = root / name
    try:
        if not _room(root, size):
            return None
        with new_folder(folder, good=is_whole) as parts:
            write(parts)
            sums = {path.name: sha256(path) for path in sorted(parts.iterdir()) if path.is_file()}
            about_it = {"kind": kind, "of": of, "about": about, "made": time.time(), "sha256": sums}
            write_manifest(parts, about_it)
    except (StorageError, OSError) as error:
        # The sentence of the writer names temporary files.
        say_once(f"Nothing could be kept for the next start in {root}: {reason(error.__cause__ or error)}.")
        return None
    return folder if folder.is_dir() else None


def _room(root: Path, size: int) -> bool:
    try:
        limit = cache_limit()
    except DataError as error:
        say_once(f"{error} {DEFAULT_LIMIT >> 30} GB count.")
        limit = DEFAULT_LIMIT
    kept = entries()
    held = sum(entry.size for entry in kept)
    allowed = min(limit, int(_SHARE * (shutil.disk_usage(root).free + held)))
    if size > allowed:
        say_once(
            f"{size / 2**20:,.0f} MB are not kept for the next start: {root} may hold "
            f"{allowed / 2**20:,.0f} MB (ENGRAM_CACHE_LIMIT, and half of what is free)."
        )
        return False
    while held + size > allowed:
        oldest = kept.pop()
        discard(oldest.folder)
        held -= oldest.size
    return True


def age(seconds: float) -> str:
    """Return a time in the past in words; a clock that was set back since makes it now."""
    passed = max(0.0, time.time() - seconds)
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if passed >= size:
            count = int(passed // size)
            return f"{count} {word}{'s' * (count != 1)} ago"
    return "just now"
