"""One model has one name, by whatever path it is named."""

from __future__ import annotations

from pathlib import Path

from app.server.model_request import ModelRequest


def test_a_model_has_one_name_by_all_its_paths(tmp_path: Path, monkeypatch):
    folder = tmp_path / "models" / "cnn"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    concepts = tmp_path / "concepts.csv"
    concepts.write_text("concept,text\na,b\n", encoding="utf-8")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = {
        ModelRequest.of(model, texts).name()
        for model in (
            str(folder),
            f"{folder}/",
            "models/cnn",
            "./models/../models/cnn",
            "~/models/cnn",
            "link",
        )
        for texts in (str(concepts), "concepts.csv", "~/concepts.csv")
    }
    names.add(ModelRequest.of("link", "concepts.csv").name())
    assert len(names) == 1 and min(names).startswith("cnn-")
    (folder / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert ModelRequest.of(str(folder), str(concepts)).name() not in names


def test_a_sample_is_meant_where_a_folder_has_its_name(tmp_path: Path, monkeypatch):
    concepts = tmp_path / "concepts"
    concepts.mkdir()
    before = ModelRequest.of("digits-mlp", str(concepts)).name()
    (tmp_path / "digits-mlp").mkdir()
    monkeypatch.chdir(tmp_path)
    assert ModelRequest.of("digits-mlp", str(concepts)).name() == before
