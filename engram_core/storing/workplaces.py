"""Temporary folders that are one process"s alone, and the removal of those whose process has ended."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import weakref
from pathlib import Path

from .locks import fcntl, try_lock

__all__ = ["Scratch", "Workplace", "remove", "sweep", "workplace_beside"]

_ENDING = ".engram-tmp"


_LOCK = "lock"


_WORKPLACE = re.compile(r"^\..*\.[0-9a-f]{12}" + re.escape(_ENDING) + "$", re.DOTALL)


# Left behind by versions that locked nothing; a day, because one of those may still be at work.
_UNLOCKED = re.compile(r"^(engram-(upload|take)-\w{8}|\.[\w.-]+-[0-9a-f]{16}(\.old)?\.\w{8})$")


_SETTLED, _OLD = 60.0, 86_400.0  # seconds


class Workplace:
    """A folder that is this process's alone until it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkdir(path, 0o700)
        try:
            self._file = os.open(path / _LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        try_lock(self._file)

    def close(self) -> None:
        """Remove it with all that is in it."""
        remove(self.path)
        with contextlib.suppress(OSError):
            os.close(self._file)
        if fcntl is None:  # there, what is open stays
            remove(self.path)


def workplace_beside(beside: Path) -> Workplace:
    """Return a new workplace in the folder of a file or folder that is to be written."""
    # A name may be as long as the file system takes, and then nothing can be added to it.
    return Workplace(beside.with_name(f".{beside.name[:40]}.{secrets.token_hex(6)}{_ENDING}"))


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def sweep(place: Path, *, of: str | None = None) -> list[Path]:
    """Remove what ended processes left behind in a folder; never what a running one is at work on.

    Args:
        place: the folder; nothing below it is looked into.
        of: only what was to become the file or folder of this name.

    Returns:
        What was removed.
    """
    removed = []
    try:
        names = os.listdir(place)
    except OSError:
        return []
    for name in names:
        ours = bool(_WORKPLACE.match(name))
        if of is None:
            ours |= bool(_UNLOCKED.match(name))
        else:
            ours &= name.startswith(f".{of[:40]}.")
        if ours and _is_folder(place / name) and _abandoned(place / name):
            removed.append(place / name)
    return removed


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _abandoned(path: Path) -> bool:
    """Remove a workplace whose process has ended; return whether it was removed."""
    try:
        file = os.open(path / _LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        # Just made, or half removed. The clock may have been set back since, so the future is long ago too.
        try:
            age = abs(time.time() - path.lstat().st_mtime)
        except OSError:
            return False
        if age < (_SETTLED if _WORKPLACE.match(path.name) else _OLD):
            return False
        remove(path)
        return not path.exists()
    except OSError:
        return False  # another user's
    try:
        if try_lock(file) is not True:
            return False
        remove(path)
    finally:
        os.close(file)
    return not path.exists()


class Scratch:
    """A folder of this process in the system's place for temporary files.

    Deleted when it is deleted or let go, and by the next process if this one is killed.

    Attributes:
        path: the folder.
    """

    def __init__(self, name: str) -> None:
        place = Path(tempfile.gettempdir())
        sweep(place)
        workplace = workplace_beside(place / f"engram-{name}")
        self.path = workplace.path / "files"
        self._delete = weakref.finalize(self, workplace.close)
        self.path.mkdir()

    @property
    def there(self) -> bool:
        """Whether it has not been deleted yet."""
        return self._delete.alive

    def delete(self) -> None:
        """Delete it with all that is in it."""
        self._delete()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.delete()
