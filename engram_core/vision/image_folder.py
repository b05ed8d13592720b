"""Concepts from pictures: a folder with one subfolder per class, or a zip of one. All problems told at once.

Nothing is unpacked to disk, and no picture is decoded before its size is known: a small file can unfold to
gigabytes.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..concepts.concepts import Concept, ConceptSet
from ..errors import DataError
from ..libraries import need
from .picture_files import MAX_FILE, MAX_TOTAL, PictureFile, files_in_folder, files_in_zip
from .pictures import decoded

__all__ = ["ImageForm", "load_image_folder"]

MAX_PIXELS = 50_000_000

_SHOWN = 20


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

    Returns:
        One concept per class.

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
        files = list(files_in_folder(path, problems, classes))
    elif path.is_file():
        files = list(files_in_zip(path, problems, classes))
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


def _picture(
    file: PictureFile, seen: dict[str, str], prepare: Callable[[Any], Tensor], mode: str, max_pixels: int
) -> Tensor:
    """Return one file as an input; a DataError says what is wrong with it, without its name."""
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
    picture = decoded(data, max_pixels)
    seen[digest] = file.where
    found = prepare(picture.convert(mode))
    if not bool(torch.isfinite(found).all()):
        raise DataError("becomes NaN or infinity")
    return found
