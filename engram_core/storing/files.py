"""How files come into being: whole or not at all, and nothing stays behind, whatever ends the process.

Everything is written into a *workplace*, a hidden folder beside the target that holds a locked file. When it
is whole it is renamed to its name, so a full disk or a crash leaves what was there before. The lock dies with
its process: a workplace whose lock can be taken is nobody's any more, and whoever comes next removes it.
"""

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
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from ..errors import StorageError
from .locks import fcntl, try_lock

__all__ = [
    "Scratch",
    "discard",
    "new_file",
    "new_files",
    "new_folder",
    "reason",
    "sweep",
    "write_text",
]

_ENDING = ".engram-tmp"
_LOCK = "lock"
_WORKPLACE = re.compile(r"^\..*\.[0-9a-f]{12}" + re.escape(_ENDING) + "$", re.DOTALL)
# Left behind by versions that locked nothing; a day, because one of those may still be at work.
_UNLOCKED = re.compile(r"^(engram-(upload|take)-\w{8}|\.[\w.-]+-[0-9a-f]{16}(\.old)?\.\w{8})$")
_SETTLED, _OLD = 60.0, 86_400.0  # seconds


# -- workplaces -----------------------------------------------------------------------------------


class _Workplace:
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
        _remove(self.path)
        with contextlib.suppress(OSError):
            os.close(self._file)
        if fcntl is None:  # there, what is open stays
            _remove(self.path)


def _workplace(beside: Path) -> _Workplace:
    # A name may be as long as the file system takes, and then nothing can be added to it.
    return _Workplace(beside.with_name(f".{beside.name[:40]}.{secrets.token_hex(6)}{_ENDING}"))


def _remove(path: Path) -> None:
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
        _remove(path)
        return not path.exists()
    except OSError:
        return False  # another user's
    try:
        if try_lock(file) is not True:
            return False
        _remove(path)
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
        workplace = _workplace(place / f"engram-{name}")
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


def discard(path: Path) -> None:
    """Remove a file or folder so that nobody ever sees a half of it."""
    try:
        workplace = _workplace(path)
    except OSError:
        _remove(path)
        return
    try:
        os.replace(path, workplace.path / "old")
    except OSError:
        _remove(path)
    finally:
        workplace.close()


# -- writing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield where to write; what is there at the end of the block becomes the file, whole or not at all.

    Raises:
        StorageError: if it cannot be written; says why, and that the old file is still there.
    """
    with new_files(path) as (temporary,):
        yield temporary


@contextlib.contextmanager
def new_files(*paths: str | os.PathLike[str]) -> Iterator[tuple[Path, ...]]:
    """The same for several files of one folder: none takes its place before all are written."""
    told = Path(paths[0])
    # A link stays a link, to the new file.
    targets = [Path(os.path.realpath(path)) for path in paths]
    workplace: _Workplace | None = None
    try:
        for path, target in zip(paths, targets, strict=True):
            if target.exists() and not target.is_file():
                raise StorageError(f"Could not write {path}: it is a folder or a device, not a file.")
            sweep(target.parent, of=target.name)
        workplace = _workplace(targets[0])
        temporaries = []
        for number, _ in enumerate(targets):
            folder = workplace.path / str(number)
            folder.mkdir()
            temporary = folder / "new"
            # Made here and not by mkstemp, which makes files for their owner alone; the umask cannot be read
            # without setting it for every thread.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            temporaries.append(temporary)
        mode = stat.S_IMODE(temporaries[0].stat().st_mode)
        yield tuple(temporaries)
        for temporary in temporaries:
            temporary.chmod(mode)  # a library may have made a file of its own
            _to_disk(temporary)  # a full disk must speak before the rename, not after
        for temporary, target in zip(temporaries, targets, strict=True):
            os.replace(temporary, target)
    except (OSError, SafetensorError) as error:
        kept = "The old file is untouched." if told.exists() else "Nothing was left behind."
        raise StorageError(f"Could not write {told}: {reason(error)}. {kept}") from error
    finally:
        if workplace is not None:
            workplace.close()


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str], *, good: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield an empty folder to fill; at the end of the block it becomes the folder, whole or not at all.

    Args:
        path: must not exist yet or be an empty folder, unless `good` is given.
        good: tells of what stands in the way whether it may stay; then what was written is dropped, for the
            first one wins. Otherwise it is replaced.

    Raises:
        StorageError: if it cannot be written, or something that may not be replaced is in the way.
    """
    target = Path(os.path.realpath(path))
    workplace: _Workplace | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, of=target.name)
        workplace = _workplace(target)
        parts = workplace.path / "new"
        parts.mkdir()
        yield parts
        for file in parts.rglob("*"):
            if file.is_file():
                _to_disk(file)
        _put(parts, target, good)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"Could not write {path}: {reason(error)}. Nothing was left behind.") from error
    finally:
        if workplace is not None:
            workplace.close()


def _put(parts: Path, target: Path, good: Callable[[Path], bool] | None) -> None:
    if good is None:
        if target.exists():
            target.rmdir()  # only an empty one goes
        os.replace(parts, target)
        return
    try:
        os.replace(parts, target)
    except OSError:
        if good(target):
            return
        # A directory cannot be renamed over one that holds files, so that one steps aside first.
        with contextlib.suppress(FileNotFoundError):
            os.replace(target, parts.with_name("old"))
        os.replace(parts, target)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, whole or not at all; into a device or a pipe, directly.

    Raises:
        StorageError: if it cannot be written.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = stat.S_IFREG
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"Could not write {path}: {reason(error)}.") from error
        return
    with new_file(path) as temporary:
        # Bytes, so that a table's own line ends are what comes out on every system.
        temporary.write_bytes(text.encode("utf-8"))


def _to_disk(path: Path) -> None:
    with open(path, "rb+") as written:
        os.fsync(written.fileno())


def reason(error: BaseException) -> str:
    """Say what went wrong, without the names of temporary files."""
    text = str(getattr(error, "strerror", None) or error)
    found = re.search(r"I/O error: (.*?) \(os error \d+\)", text)  # as safetensors says it
    return (found[1] if found else text).rstrip(".")
