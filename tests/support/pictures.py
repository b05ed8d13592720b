"""Pictures made of numbers, as files and as archives."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

import engram_core as ec


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


def digits_zip() -> bytes:
    """Return a zip of eight pictures each of the digits 3 and 7, as the bundled sample has them."""
    sample, buffer = ec.load_sample("digits-mlp"), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("3", "7"):
            for index, image in enumerate(sample.concepts[name].record[:8].numpy()):
                png = io.BytesIO()
                Image.fromarray((255 * image[0]).astype(np.uint8)).save(png, "PNG")
                archive.writestr(f"{name}/{index}.png", png.getvalue())
    return buffer.getvalue()


CNN = {
    "architecture": "cnn",
    "options": {"image_size": [8, 8], "in_channels": 3, "channels": [4], "pools": [[2, 2]],
                "widths": [6], "classes": 3},
    "classes": ["cat", "dog", "owl"],
}  # fmt: skip
