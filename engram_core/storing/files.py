"""How files come into being: whole or not at all, and nothing stays behind, whatever ends the process.

Everything is written into a *workplace*, a hidden folder beside the target that holds a locked file. When it
is whole it is renamed to its name, so a full disk or a crash leaves what was there before. The lock dies with
its process: a workplace whose lock can be taken is nobody's any more, and whoever comes next removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from ..errors import StorageError
from .workplaces import Workplace, remove, sweep, workplace_beside

__all__ = ["discard", "new_file", "new_files", "new_folder", "reason", "write_text"]


# -- workplaces -----------------------------------------------------------------------------------


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
    workplace: Workplace | None = None
    try:
        for path, target in zip(paths, targets, strict=True):
            if target.exists() and not target.is_file():
                raise StorageError(f"Could not write {path}: it is a folder or a device, not a file.")
            sweep(target.parent, of=target.name)
        workplace = workplace_beside(targets[0])
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
    workplace: Workplace | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, of=target.name)
        workplace = workplace_beside(target)
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


def discard(path: Path) -> None:
    """Remove a file or folder so that nobody ever sees a half of it."""
    try:
        workplace = workplace_beside(path)
    except OSError:
        remove(path)
        return
    try:
        os.replace(path, workplace.path / "old")
    except OSError:
        remove(path)
    finally:
        workplace.close()


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
