"""One picture is decoded whole and upright, of any mode, or the first of several in a phone's file."""

from __future__ import annotations

import io

import pytest
import torch
from pictures import picture
from PIL import Image

from engram_core.errors import DependencyError
from engram_core.vision.image_folder import ImageForm, load_image_folder

FORM = ImageForm(8, 8, 3)


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


def test_without_pillow_it_says_what_to_install(root, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DependencyError, match="pip install pillow"):
        load_image_folder(root, FORM)


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
