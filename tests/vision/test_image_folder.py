"""A folder of pictures per class, or a zip of it; and all that can be wrong with either."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture, png, zipped
from PIL import Image

from engram_core.errors import DataError, DependencyError
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


def test_pictures_of_every_mode_become_inputs_of_one_form(root) -> None:
    for mode in ("L", "P", "RGBA", "LA", "1", "CMYK"):
        name = f"mode-{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        picture(hash(mode) % 1000 + 100, mode="RGBA" if mode == "LA" else mode).convert(mode).save(
            root / "cat" / name
        )
    found = load_image_folder(root, FORM)
    assert len(found["cat"].record) + len(found["cat"].probe) == 10
    grey = load_image_folder(root, ImageForm(8, 8, 1), mode="L")
    assert grey["cat"].record.shape[1:] == (1, 8, 8)


def test_transparent_pixels_are_white_and_turned_pictures_upright(root) -> None:
    Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(root / "cat" / "a.png")
    wide = Image.new("RGB", (8, 8), "white")
    wide.paste((0, 0, 0), (0, 0, 8, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # "the top is on the right"
    wide.save(root / "dog" / "turned.png", exif=exif)
    found = load_image_folder(root, FORM)
    cats, dogs = (torch.cat([found[n].record, found[n].probe]) for n in ("cat", "dog"))
    assert any(bool((x == 1).all()) for x in cats)
    assert any(bool((x[:, :, 6:] == 0).all()) and bool((x[:, :, :6] == 1).all()) for x in dogs)


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


def test_without_pillow_it_says_what_to_install(root, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DependencyError, match="pip install pillow"):
        load_image_folder(root, FORM)


def test_what_systems_leave_behind_is_passed_over(root) -> None:
    (root / ".DS_Store").write_bytes(b"x")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    assert len(load_image_folder(root, FORM)) == 3


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


def test_links_to_folders_are_told_and_not_followed(root, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "fox").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "more").symlink_to(root / "dog")
    said = refusal(root)
    assert "fox: a link to a folder" in said and "cat/more: a link to a folder" in said


def test_a_folder_that_cannot_be_read_is_told(root, monkeypatch) -> None:
    known = os.scandir

    def scandir(path):
        if Path(path).name == "owl":
            raise PermissionError(13, "Permission denied", str(path))
        return known(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "owl: cannot be read (Permission denied)" in refusal(root)


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


def test_a_zip_of_names_with_backslashes_says_so(root, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for file in sorted(root.rglob("*.png")):
            archive.writestr(str(file.relative_to(root)).replace("/", "\\"), file.read_bytes())
    said = refusal(tmp_path / "p.zip")
    assert "backslashes in its name" in said and "leads out" not in said


def test_no_folder_no_classes_and_one_class_are_told(tmp_path) -> None:
    assert "There is no folder or zip" in refusal(tmp_path / "none")
    assert "holds no class folder" in refusal(tmp_path)
    (tmp_path / "only").mkdir()
    for i in range(3):
        (tmp_path / "only" / f"{i}.png").write_bytes(png(i))
    assert "only one class" in refusal(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    assert "no whole zip file" in refusal(tmp_path / "a.zip")
    with pytest.raises(DataError, match="between 0 and 1"):
        load_image_folder(tmp_path, FORM, held_out=1.0)


def mpo(first: Image.Image, second: Image.Image) -> bytes:
    opened = io.BytesIO()
    first.save(opened, "MPO", save_all=True, append_images=[second], quality=100)
    return opened.getvalue()


@pytest.mark.parametrize("cut", [False, True])
def test_the_first_picture_of_a_phones_file_is_read(root, cut: bool) -> None:
    """A camera writes a preview or a depth map behind the picture; the note on it may be damaged."""
    first, second = Image.new("RGB", (8, 8), (250, 10, 10)), Image.new("RGB", (16, 16), (10, 10, 250))
    data = mpo(first, second)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    if cut:
        data = data[: data.rindex(b"\xff\xd8") + 20]
    (root / "cat" / "phone.jpg").write_bytes(data)
    found = load_image_folder(root, FORM, held_out=0.2)
    pictures = torch.cat([found["cat"].record, found["cat"].probe])
    red = [p for p in pictures if p[0].min() > 0.9]
    assert len(pictures) == 5 and len(red) == 1 and red[0][2].max() < 0.1


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "labels.csv", "LICENSE.jpg"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_lies_beside_the_class_folders_gets_advice_that_works(root, tmp_path, name, packed) -> None:
    (root / name).write_bytes(png(99) if name.endswith(".jpg") else b"MIT")
    path = root
    if packed:
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
            for file in sorted(f for f in root.rglob("*") if f.is_file()):
                archive.write(file, str(file.relative_to(root)))
        path = tmp_path / "p.zip"
    said = refusal(path)
    if name.endswith(".jpg"):
        assert f"{name}: lies beside the class folders; put it into one" in said
        (root / name).rename(root / "cat" / name)
    else:
        assert f"is no picture; take it out of the {'zip' if packed else 'folder'}" in said
        (root / name).unlink()
    assert set(load_image_folder(root, FORM)) == {"cat", "dog", "owl"}


def test_links_in_a_circle_are_refused_like_any_that_lead_nowhere(root) -> None:
    (root / "cat" / "round.png").symlink_to(root / "cat" / "round.png")
    assert "cat/round.png: a link out of the folder" in refusal(root)


def test_a_link_out_of_the_folder_is_not_followed(root, tmp_path) -> None:
    (tmp_path / "secret.png").write_bytes(png(5))
    (root / "cat" / "link.png").symlink_to(tmp_path / "secret.png")
    assert "cat/link.png: a link out of the folder" in refusal(root)


@pytest.mark.parametrize(
    "name", ["../cat/x.png", "/cat/x.png", "cat/../../x.png", "C:/cat/x.png", "cat\\..\\x.png"]
)
def test_names_that_lead_out_of_a_zip_are_refused(root, tmp_path, name: str) -> None:
    path = zipped(root, tmp_path / "p.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, png(66))
    assert "leads out of the zip" in refusal(path)


def test_a_name_that_stands_in_a_zip_twice_is_refused(root, tmp_path) -> None:
    path = zipped(root, tmp_path / "p.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("cat/0.png", png(66))
    assert "cat/0.png: this name stands in the zip twice" in refusal(path)


def test_zip_bombs_are_refused_by_what_they_say_and_by_what_they_are(root, tmp_path, monkeypatch) -> None:
    from engram_core.vision import image_folder, picture_files

    path = zipped(root, tmp_path / "p.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/zeros.png", bytes(3 << 20))
    monkeypatch.setattr(image_folder, "MAX_FILE", 1 << 20)
    assert "cat/zeros.png: 3 MB; at most 1 MB" in refusal(path)
    monkeypatch.setattr(picture_files, "MAX_TOTAL", 2 << 20)
    assert "a zip bomb?" in refusal(path)
    monkeypatch.undo()
    # A directory that lies about the size: the read itself is bounded, and the lie is found.
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"cat/zeros.png"))
    data[entry + 24 : entry + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "cat/zeros.png" in refusal(path)
