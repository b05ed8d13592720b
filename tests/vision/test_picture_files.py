"""Which files of a folder or zip are pictures of which class, and what is refused of it."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import pytest
from pictures import png, zipped

from engram_core.errors import DataError
from engram_core.vision.image_folder import ImageForm, load_image_folder

FORM = ImageForm(8, 8, 3)


def refusal(path: Path, form: ImageForm = FORM) -> str:
    with pytest.raises(DataError) as caught:
        load_image_folder(path, form, mode=form.mode)
    return str(caught.value)


def test_what_systems_leave_behind_is_passed_over(root) -> None:
    (root / ".DS_Store").write_bytes(b"x")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    assert len(load_image_folder(root, FORM)) == 3


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
