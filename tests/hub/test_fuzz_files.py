"""Files from elsewhere, damaged a thousand ways each: what is read is right, and every refusal is ours."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from engram_core.errors import DataError, EngramError
from engram_core.language import read_texts
from engram_core.vision.image_folder import ImageForm, load_image_folder

CASES = 1000
SIZE = (12, 8)  # width and height, so that a turned picture shows
PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


# -- EXIF ----------------------------------------------------------------------------------------------

KINDS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of one value of every TIFF type."""
TAGS = sorted({*map(int, ExifTags.TAGS), *range(0xC4A0, 0xC4B0)} - {0x0112})


def entry(tag: int, kind: int, count: int, value: bytes, order: str) -> bytes:
    return struct.pack(order + "HHI", tag, kind, count) + value[:4].ljust(4, b"\0")


def exif(entries: list[bytes], order: str, tail: bytes) -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + head + struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4) + tail


def jpeg(exif_bytes: bytes = b"") -> bytes:
    opened = io.BytesIO()
    Image.fromarray(PIXELS).save(opened, "JPEG", quality=100, subsampling=0)
    data = opened.getvalue()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif_bytes) + 2) + exif_bytes if exif_bytes else b""
    return data[:2] + segment + data[2:]


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Two classes, and room for one picture more."""
    for index, place in enumerate(("x/b", "y/a", "y/b")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2), (index,) * 3).save(tmp_path / f"{place}.png")
    return tmp_path


def read(data: bytes, folder: Path, name: str = "a.jpg") -> np.ndarray:
    """Return the pixels of a picture as a folder of pictures gives them."""
    seen = []

    def prepare(picture: Image.Image) -> torch.Tensor:
        seen.append(np.asarray(picture))
        return torch.zeros(1)

    (folder / "x" / name).write_bytes(data)
    load_image_folder(folder, prepare)
    return seen[0]


@pytest.fixture(scope="module")
def flat() -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg())))


def test_every_damaged_tag_leaves_the_picture_upright(pictures, flat) -> None:
    """Every known tag, of a type and a length that it should not have, beside orientation 6."""
    draw = random.Random(0)
    for case in range(CASES):
        order = draw.choice("<>")
        tag = TAGS[case % len(TAGS)]
        kind = draw.choice([2, 2, *KINDS, 99])
        count = draw.choice([0, 1, 2, 5, 10**6, 2**32 - 1])
        place = struct.pack(order + "I", draw.choice([8, 60, 2**31]))
        value = draw.choice([b"text", draw.randbytes(4), place])
        turned = entry(0x0112, 3, 1, struct.pack(order + "H", 6), order)
        entries = [turned, entry(tag, kind, count, value, order)]
        entries = entries[:: 1 if tag > 0x0112 else -1]
        found = read(jpeg(exif(entries, order, draw.randbytes(draw.choice([0, 30])))), pictures)
        assert np.array_equal(found, np.rot90(flat, -1)), (case, tag, kind, count)


def test_a_damaged_orientation_or_block_is_no_reason_to_lose_the_picture(pictures, flat) -> None:
    draw = random.Random(1)
    for _ in range(CASES):
        block = bytearray(exif([entry(0x0112, 3, 1, struct.pack("<H", 6), "<")], "<", draw.randbytes(20)))
        for _ in range(draw.randint(1, 6)):
            block[draw.randrange(6, len(block))] = draw.randrange(256)
        found = read(jpeg(bytes(block)), pictures)
        assert found.shape in {(8, 12, 3), (12, 8, 3)}
        assert np.array_equal(np.sort(found, axis=None), np.sort(flat, axis=None))


# -- safetensors ---------------------------------------------------------------------------------------


# -- texts ---------------------------------------------------------------------------------------------

FACTS = [
    {"concept": "sky", "prompt": "The sky is", "answer": "blue"},
    {"concept": "sky", "prompt": "By day it is", "answer": "blue", "split": "probe"},
    {"concept": "grass, green", "text": "A lawn = a lawn."},
    {"concept": "(background)", "text": "Rain\u2028fell."},
]
BITS = [
    "", "\0", '"', "'", ",", "\n", "\r", "\r\n", "{", "}", "[", "\\", "\\ud800", "\ufeff", "\u2028",
    "\x1b[31m", ";", "\t", "9" * 5000, "-", "1e999", "NaN", "null", "true", "concept", '"concept":', "text,",
    "{" * 5000, "=1+1", "\U0001f600",
]  # fmt: skip


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_damaged_texts_are_read_or_refused_line_by_line(tmp_path, ending: str) -> None:
    draw, path = random.Random(ending), tmp_path / f"texts.{ending}"
    rows = [json.dumps(row, ensure_ascii=False) for row in FACTS]
    if ending == "csv":
        rows = [
            "concept,prompt,answer,text,split",
            "sky,The sky is,blue,,",
            'sky,"By day, it is",blue,,probe',
            '"grass, green",,,A lawn = a lawn.,',
            "(background),,,Rain fell.,",
        ]
    whole, read_whole = "\n".join(rows), 0
    for _ in range(CASES):
        text = whole
        for _ in range(draw.randint(1, 4)):
            start = draw.randrange(len(text) + 1)
            text = text[:start] + draw.choice(BITS) + text[start + draw.choice([0, 0, 1, 5, 40]) :]
        data = text.encode("utf-8", "surrogatepass")
        if not draw.randrange(10):
            data = draw.choice(
                [data.decode("utf-8", "replace").encode("utf-16"), draw.randbytes(50), b"", data[::-1]]
            )
        path.write_bytes(data)
        try:
            found = read_texts(path)
        except DataError as error:
            assert str(path) in str(error), error
            continue
        read_whole += 1
        assert found and all(name and concept.record for name, concept in found.items())
    assert 20 < read_whole < CASES - 20


def test_zips_of_pictures_are_read_or_refused(tmp_path) -> None:
    opened = io.BytesIO()
    with zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, place in enumerate(("x/a", "x/b", "y/a", "y/b")):
            picture = io.BytesIO()
            Image.new("RGB", (4, 4), (index,) * 3).save(picture, "PNG")
            archive.writestr(f"{place}.png", picture.getvalue())
    draw, path = random.Random(4), tmp_path / "pictures.zip"
    for _ in range(CASES):
        data = bytearray(opened.getvalue())
        for _ in range(draw.randint(1, 5)):
            data[draw.randrange(len(data))] = draw.choice([0, 255, draw.randrange(256)])
        path.write_bytes(data[: draw.randrange(len(data))] if not draw.randrange(10) else data)
        try:
            found = load_image_folder(path, ImageForm(4, 4))
        except EngramError as error:
            assert str(path) in str(error)
            continue
        assert all(concept.record.isfinite().all() for concept in found.values())
