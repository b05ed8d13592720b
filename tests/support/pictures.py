"""Pictures made of numbers, as files and as archives."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def png(seed: int, **options) -> bytes:
    opened = io.BytesIO()
    picture(seed, **options).save(opened, "PNG")
    return opened.getvalue()


def zipped(root: Path, target: Path, *, around: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, around + str(file.relative_to(root)))
    return target
