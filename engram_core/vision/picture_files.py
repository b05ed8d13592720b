"""Find the pictures in a folder or zip of class folders, each with its class; nothing is unpacked to disk."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import DataError
from ..libraries import first_line

__all__ = ["MAX_FILE", "MAX_FILES", "MAX_TOTAL", "PictureFile", "files_in_folder", "files_in_zip"]

MAX_FILE = 64 << 20
MAX_FILES = 500_000
MAX_TOTAL = 4 << 30
"""Bytes of all files of a zip once unpacked, and of all tensors made from a folder."""
_PICTURES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".mpo",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
# What systems leave in folders of pictures, in small letters.
_LITTER = (".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")


@dataclass(frozen=True)
class PictureFile:
    """One file of a folder or zip: where it stands, its class, and how to read it."""

    where: str
    label: str
    size: int
    read: Callable[[], bytes]


def _ignored(parts: tuple[str, ...]) -> bool:
    return any((part.startswith(".") and part != "..") or part.casefold() in _LITTER for part in parts)


def _beside(name: str, place: str) -> str:
    if PurePosixPath(name).suffix.casefold() in _PICTURES:
        return "lies beside the class folders; put it into one"
    return f"lies beside the class folders and is no picture; take it out of the {place}"


def _walked(root: Path, problems: list[str]) -> list[Path]:
    """Return everything below a folder, in order; folders that links lead to are not entered."""

    def silent(error: OSError) -> None:
        relative = Path(error.filename).relative_to(root)
        problems.append(f"{relative}: cannot be read ({error.strerror})")

    found: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=silent):
        folders[:] = [name for name in folders if not _ignored((name,))]
        found += [Path(folder, name) for name in (*folders, *files)]
        if len(found) > MAX_FILES:
            raise DataError(
                f"{root} holds more than {MAX_FILES:,} files and folders, as many as are read. Is it the "
                "folder with one subfolder of pictures per class?"
            )
    return sorted(found)


def files_in_folder(root: Path, problems: list[str], classes: list[str]) -> Iterator[PictureFile]:
    """Yield the pictures of a folder, and name its classes, those too that hold none.

    Args:
        root: the folder.
        problems: what is wrong with files in it is added here, in sentences.
        classes: names of its class folders are added here.

    Raises:
        DataError: if it holds too many files.
    """
    for path in _walked(root, problems):
        relative = path.relative_to(root)
        if _ignored(relative.parts):
            continue
        if path.is_dir():
            if path.is_symlink():
                problems.append(f"{relative}: a link to a folder, which is not followed; put a folder there")
            elif len(relative.parts) == 1:
                classes.append(relative.name)
        elif not _within(path, root) or not path.is_file():
            problems.append(f"{relative}: a link out of the folder, or no plain file")
        elif len(relative.parts) == 1:
            problems.append(f"{relative}: {_beside(relative.name, 'folder')}")
        else:
            yield PictureFile(str(relative), relative.parts[0], path.stat().st_size, path.read_bytes)


def _within(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def files_in_zip(path: Path, problems: list[str], classes: list[str]) -> Iterator[PictureFile]:
    """Yield the pictures of a zip, and name its classes, those too that hold none.

    Args:
        path: the zip.
        problems: what is wrong with files in it is added here, in sentences.
        classes: names of its class folders are added here.

    Raises:
        DataError: if it is no zip, or would unfold to too much.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged directory of files fails in whatever way its bytes have it
        raise DataError(f"{path} is no folder and no whole zip file ({first_line(error)}).") from None
    entries = [
        e
        for e in archive.infolist()
        if not e.filename.endswith("/") and not _ignored(PurePosixPath(e.filename).parts)
    ]
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL:
        raise DataError(
            f"{path} would unfold to {total / 2**30:,.1f} GB (a zip bomb?); at most {MAX_TOTAL >> 30} GB "
            "are read."
        )
    parts = [PurePosixPath(entry.filename).parts for entry in entries]
    # Folders are often zipped with the folder itself around them.
    outer = bool(parts) and all(len(p) >= 3 and p[0] == parts[0][0] for p in parts)
    for folder in archive.infolist():
        inside = PurePosixPath(folder.filename).parts
        if folder.filename.endswith("/") and not _ignored(inside) and len(inside) == 1 + outer:
            if not outer or inside[0] == parts[0][0]:
                classes.append(inside[-1])
    names: set[str] = set()
    for entry, inside in zip(entries, parts, strict=True):
        where = entry.filename
        if "\\" in where and ".." not in where:
            problems.append(f"{where}: backslashes in its name; zip the folder with another program")
        elif not inside or where.startswith("/") or "\\" in where or ".." in inside or ":" in inside[0]:
            problems.append(f"{where}: its name leads out of the zip")
        elif where in names:
            problems.append(f"{where}: this name stands in the zip twice")
        elif stat.S_ISLNK(entry.external_attr >> 16):
            problems.append(f"{where}: a link")
        elif entry.flag_bits & 1:
            problems.append(f"{where}: encrypted")
        elif len(inside) - outer < 2:
            problems.append(f"{where}: {_beside(inside[-1], 'zip')}")
        else:
            names.add(where)
            yield PictureFile(where, inside[int(outer)], entry.file_size, _reader(archive, entry))


def _reader(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(entry) as opened:
                # What the zip says of its sizes need not be true.
                return opened.read(MAX_FILE + 1)
        except Exception as error:
            raise DataError(f"cannot be unpacked ({first_line(error, 120)})") from None

    return read
