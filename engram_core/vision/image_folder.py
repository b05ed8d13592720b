"""Concepts from pictures: a folder with one subfolder per class, or a zip of one. All problems told at once.

Nothing is unpacked to disk, and no picture is decoded before its size is known: a small file can unfold to
gigabytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..concepts.concepts import Concept, ConceptSet
from ..errors import DataError
from ..libraries import first_line, need

__all__ = ["ImageForm", "load_image_folder"]

MAX_PIXELS = 50_000_000
MAX_FILE = 64 << 20
MAX_FILES = 500_000
MAX_TOTAL = 4 << 30
"""Bytes of all files of a zip once unpacked, and of all tensors made from a folder."""

_SHOWN = 20
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
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
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_ORIENTATION = 0x0112  # the EXIF tag
# What systems leave in folders of pictures, in small letters.
_LITTER = (".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir")


@dataclass(frozen=True)
class ImageForm:
    """How a picture becomes an input: resized, in so many channels, in [0, 1], then normalised.

    Attributes:
        height: of the input.
        width: of the input.
        channels: 1 (grey) or 3 (red, green, blue).
        mean: taken off, per channel.
        std: divided by, per channel.
    """

    height: int
    width: int
    channels: int = 3
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def mode(self) -> str:
        """Pillow's name for the channels."""
        return "L" if self.channels == 1 else "RGB"

    def __call__(self, picture: Any) -> Tensor:
        """Return the input, (channels, height, width) float32."""
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), resample=2)  # bilinear
        values = torch.from_numpy(np.array(picture, dtype=np.float32) / 255)
        values = values.unsqueeze(0) if self.channels == 1 else values.permute(2, 0, 1)
        mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (self.mean, self.std))
        return ((values - mean) / std).contiguous()


@dataclass(frozen=True)
class _File:
    """One file of a folder or zip: where it stands, its class, and how to read it."""

    where: str
    label: str
    size: int
    read: Callable[[], bytes]


def load_image_folder(
    path: str | os.PathLike[str],
    prepare: Callable[[Any], Tensor],
    *,
    mode: str = "RGB",
    held_out: float = 0.25,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> ConceptSet:
    """Read a folder (or zip) of class folders as concepts with a recorded and a held-out part.

    A class is a folder directly below `path` (a zip may have one folder around them); its pictures lie in
    it, at any depth. PNG, JPEG, BMP, GIF, WebP, TIFF or PPM, 8 bits per channel; transparent ones are put on
    white, turned ones set upright. Hidden files and what systems leave behind (Thumbs.db) are passed over.

    Args:
        path: the folder or zip file.
        prepare: turns a Pillow picture of `mode` into an input tensor, all of one shape (see `ImageForm`).
        mode: ``"RGB"`` or ``"L"``.
        held_out: share of every class that is measured on and not recorded; at least one picture.
        seed: of that choice.
        max_pixels: most pixels a picture may have.

    Raises:
        DataError: naming every bad file, all at once; nothing is taken until there is none.
    """
    if not 0 < held_out < 1:
        raise DataError(f"held_out is a share between 0 and 1; found {held_out}.")
    need("PIL.Image", "Reading pictures", "pip install pillow")
    path = Path(path).expanduser()
    problems: list[str] = []
    classes: list[str] = []
    if path.is_dir():
        files = list(_folder_files(path, problems, classes))
    elif path.is_file():
        files = list(_zip_files(path, problems, classes))
    else:
        raise DataError(f"There is no folder or zip file {path}.")
    pictures: dict[str, list[Tensor]] = {label: [] for label in classes if files}
    seen: dict[str, str] = {}
    shape: tuple[int, ...] | None = None
    held = 0
    for file in files:
        try:
            found = _picture(file, seen, prepare, mode, max_pixels)
            if shape is not None and tuple(found.shape) != shape:
                raise DataError(f"becomes an input of shape {tuple(found.shape)}, others one of {shape}")
        except DataError as error:
            problems.append(f"{file.where}: {error}")
            pictures.setdefault(file.label, [])
            continue
        shape = tuple(found.shape)
        held += found.numel() * found.element_size()
        if held > MAX_TOTAL:
            raise DataError(
                f"The pictures in {path} take more than {MAX_TOTAL >> 30} GB as inputs; take fewer per class."
            )
        pictures.setdefault(file.label, []).append(found)
    _check_classes(pictures, problems)
    if problems:
        more = f"\n… and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {path}; nothing was taken:\n"
            + "\n".join(problems[:_SHOWN]) + more
        )  # fmt: skip
    if not pictures:
        raise DataError(f"{path} holds no class folder with pictures: make one folder per class in it.")
    return ConceptSet(_parted(label, found, held_out, seed) for label, found in sorted(pictures.items()))


def _parted(label: str, pictures: list[Tensor], held_out: float, seed: int) -> Concept:
    order = np.random.RandomState(seed).permutation(len(pictures))
    count = min(max(1, round(held_out * len(pictures))), len(pictures) - 1)
    probe, record = np.sort(order[:count]), np.sort(order[count:])
    return Concept(
        label, torch.stack([pictures[i] for i in record]), torch.stack([pictures[i] for i in probe])
    )


def _check_classes(pictures: dict[str, list[Tensor]], problems: list[str]) -> None:
    folded: dict[str, str] = {}
    for label, found in pictures.items():
        other = folded.setdefault(unicodedata.normalize("NFC", label).casefold(), label)
        if other != label:
            same = other.casefold() == label.casefold()
            how = "in capitals" if same else "in how its letters are put together (Unicode)"
            problems.append(f"{label}: differs from the class {other!r} only {how}; rename one")
        if len(found) < 2:
            problems.append(
                f"{label}: usable pictures: {len(found)}; a class needs two, one to record and one "
                "to measure on"
            )
    if len(pictures) == 1:
        problems.append("only one class; an engram needs other data to be told apart from")


# -- files -------------------------------------------------------------------------------------------


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


def _folder_files(root: Path, problems: list[str], classes: list[str]) -> Iterator[_File]:
    """Yield the pictures of a folder, and name its classes, those too that hold none."""
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
            yield _File(str(relative), relative.parts[0], path.stat().st_size, path.read_bytes)


def _within(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def _zip_files(path: Path, problems: list[str], classes: list[str]) -> Iterator[_File]:
    """Yield the pictures of a zip, and name its classes, those too that hold none."""
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
            yield _File(where, inside[int(outer)], entry.file_size, _reader(archive, entry))


def _reader(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(entry) as opened:
                # What the zip says of its sizes need not be true.
                return opened.read(MAX_FILE + 1)
        except Exception as error:
            raise DataError(f"cannot be unpacked ({first_line(error, 120)})") from None

    return read


def _picture(
    file: _File, seen: dict[str, str], prepare: Callable[[Any], Tensor], mode: str, max_pixels: int
) -> Tensor:
    """Return one file as an input; a DataError says what is wrong with it, without its name."""
    from PIL import Image

    if not file.size:
        raise DataError("an empty file (0 bytes)")
    if file.size > MAX_FILE:
        raise DataError(f"{file.size / 2**20:,.0f} MB; at most {MAX_FILE >> 20} MB are read")
    try:
        data = file.read()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from None
    if len(data) > MAX_FILE:
        raise DataError(f"unfolds to more than {MAX_FILE >> 20} MB")
    digest = hashlib.sha256(data).hexdigest()
    if digest in seen:
        raise DataError(f"the same picture as {seen[digest]}; it could be recorded and measured on at once")
    picture = _upright(_decoded(data, max_pixels))
    seen[digest] = file.where
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    found = prepare(picture.convert(mode))
    if not bool(torch.isfinite(found).all()):
        raise DataError("becomes NaN or infinity")
    return found


def _decoded(data: bytes, max_pixels: int) -> Any:
    """Return the picture in a file, its pixels read."""
    from PIL import Image, JpegImagePlugin, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Our own limit is lower, and says how large the picture is; a damaged note beside the pixels is
            # no concern of whoever wants the pixels.
            warnings.simplefilter("ignore")
            if data.startswith(b"\xff\xd8"):
                # A phone's file may hold a second picture (a preview, a depth map) behind the first, and
                # Pillow then takes it for another format. The first is a whole JPEG.
                picture: Any = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
            else:
                picture = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = picture.size
            if width * height > max_pixels:
                raise DataError(
                    f"{width:,} × {height:,} pixels; at most {max_pixels:,} in all. Make it smaller"
                )
            if getattr(picture, "n_frames", 1) > 1:
                raise DataError(f"{picture.n_frames} pictures in one file; take one")
            if picture.mode not in _MODES:
                raise DataError(f"pixels of type {picture.mode!r}; save it with 8 bits per channel")
            picture.load()
            return picture
    except Image.DecompressionBombError:
        raise DataError(f"far too many pixels; at most {max_pixels:,}. Make it smaller") from None
    except UnidentifiedImageError:
        raise DataError("not a picture (PNG, JPEG, BMP, GIF, WebP, TIFF or PPM); take it out") from None
    except DataError:
        raise
    except Exception as error:  # a decoder on damaged bytes fails in whatever way the bytes have it
        raise DataError(f"a damaged picture ({first_line(error, 120)})") from None


def _upright(picture: Any) -> Any:
    """Return a picture turned as its camera says; a note that cannot be read says nothing.

    Pillow's own way reads all other notes as well and writes them anew, and fails on any that is damaged.
    """
    from PIL import Image

    turned = _orientation(picture.info.get("exif") or b"")
    if turned is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                turned = picture.getexif().get(_ORIENTATION)
        except Exception:  # whatever stands there, the pixels are whole
            return picture
    turn = Image.Transpose
    ways = (turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE, turn.ROTATE_270,
            turn.TRANSVERSE, turn.ROTATE_90)  # fmt: skip
    known = isinstance(turned, int) and 2 <= turned <= 8
    return picture.transpose(ways[turned - 2]) if known else picture


def _orientation(exif: bytes) -> int | None:
    """Return the orientation in a block of EXIF (the first directory of a TIFF file), or None."""
    data = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", data, place)
            if (tag, kind, values) == (_ORIENTATION, 3, 1):
                return value
    except struct.error:  # it ends too early
        pass
    return None
