"""A folder of pictures per class, or a zip of it; and all that can be wrong with either."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture, png, zipped
from PIL import Image

from engram_core.errors import DataError
from engram_core.vision.image_folder import ImageForm, load_image_folder

FORM = ImageForm(8, 8, 3)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def refusal(path: Path, form: ImageForm = FORM) -> str:
    with pytest.raises(DataError) as caught:
        load_image_folder(path, form, mode=form.mode)
    return str(caught.value)


def test_every_class_gives_a_recorded_and_a_held_out_part_and_loses_no_picture(root) -> None:
    found = load_image_folder(root, FORM, held_out=0.25, seed=3)
    assert list(found) == ["cat", "dog", "owl"]
    for number, concept in enumerate(found.values()):
        assert concept.record.shape == (3, 3, 8, 8) and concept.probe.shape == (1, 3, 8, 8)
        both = {tuple(x.flatten().tolist()) for x in torch.cat([concept.record, concept.probe])}
        wanted = {tuple(FORM(picture(10 * number + i)).flatten().tolist()) for i in range(4)}
        assert both == wanted
    again = load_image_folder(root, FORM, held_out=0.25, seed=3)
    assert torch.equal(again["cat"].record, found["cat"].record)


@pytest.mark.parametrize("around", ["", "mine/"])
def test_a_zip_gives_the_same_as_its_folder(root, tmp_path, around: str) -> None:
    one, two = (
        load_image_folder(root, FORM),
        load_image_folder(zipped(root, tmp_path / "p.zip", around=around), FORM),
    )
    assert list(one) == list(two)
    assert all(
        torch.equal(one[n].record, two[n].record) and torch.equal(one[n].probe, two[n].probe) for n in one
    )


def test_the_form_resizes_and_normalises(root) -> None:
    form = ImageForm(4, 6, 3, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5))
    white = form(Image.new("RGB", (30, 20), "white"))
    assert (
        white.shape == (3, 4, 6)
        and white[0].unique().tolist() == [1.0]
        and white[1].unique().tolist() == [2.0]
    )


def test_every_bad_file_is_named_at_once_and_nothing_is_taken(root) -> None:
    bad = root / "cat"
    (bad / "empty.png").write_bytes(b"")
    (bad / "text.png").write_text("no picture")
    (bad / "cut.png").write_bytes(png(77, size=(64, 64))[:900])
    (bad / "huge.png").write_bytes(png_that_claims(10_000, 10_000))
    (bad / "bomb.png").write_bytes(png_that_claims(60_000, 60_000))
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16) + 900).save(bad / "deep.png")
    (bad / "again.png").write_bytes((root / "dog" / "0.png").read_bytes())
    frames = [picture(i) for i in (500, 501)]
    frames[0].save(bad / "moving.gif", save_all=True, append_images=frames[1:])
    (root / "loose.png").write_bytes(png(99))
    (root / "lonely").mkdir()
    (root / "lonely" / "one.png").write_bytes(png(98))
    (root / "CAT").mkdir()
    for i in (90, 91):
        (root / "CAT" / f"{i}.png").write_bytes(png(i))
    said = refusal(root)
    for file, told in {
        "cat/empty.png": "0 bytes", "cat/text.png": "not a picture", "cat/cut.png": "damaged",
        "cat/huge.png": "10,000 × 10,000 pixels", "cat/bomb.png": "too many pixels",
        "cat/deep.png": "8 bits per channel", "cat/moving.gif": "2 pictures in one file",
        "loose.png": "beside the class folders", "lonely": "needs two", "cat": "only in capitals",
    }.items():  # fmt: skip
        assert any(line.startswith(f"{file}:") and told in line for line in said.splitlines()), (file, said)
    assert "the same picture as" in said
    assert said.startswith("11 problems") and "nothing was taken" in said


@pytest.mark.parametrize("packed", [False, True])
def test_a_class_without_pictures_is_not_lost_in_silence(root, tmp_path, packed: bool) -> None:
    (root / "fox").mkdir()
    path = root
    if packed:
        path = zipped(root, tmp_path / "p.zip", around="p/")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("p/fox/", "")
            archive.writestr("__MACOSX/", "")
    assert "fox: usable pictures: 0; a class needs two" in refusal(path)


def test_two_classes_that_look_the_same_are_refused(root) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        (root / name).mkdir()
        for i in range(2):
            (root / name / f"{i}.png").write_bytes(png(90 + 2 * len(name) + i))
    assert "how its letters are put together" in refusal(root)


def test_what_is_no_picture_is_never_called_the_same_picture(root) -> None:
    for name in ("a.txt", "b.txt"):
        (root / "cat" / name).write_text("hello")
    said = refusal(root)
    assert said.count("not a picture") == 2 and "the same picture" not in said
    (root / "cat" / "a.txt").unlink()
    (root / "cat" / "b.txt").unlink()
    for name in ("THUMBS.DB", "ehthumbs.db", "@eaDir/x.jpg"):
        (root / "cat" / name).parent.mkdir(exist_ok=True)
        (root / "cat" / name).write_text("hello")
    assert len(load_image_folder(root, FORM)) == 3
