"""What was given and what the model reads, said before anything large is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engram_core as ec
from engram_core.errors import DataError
from engram_core.opening.fitting import reads_tables


def folder(place: Path, **config: object) -> Path:
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return place


def given(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(b"concept,text\na,b\n")
    return path


@pytest.mark.parametrize(
    ("model", "concepts", "said"),
    [
        ("facts-lm", "cats.zip", "cats.zip holds pictures, and facts-lm is a language model: it reads"),
        ("wine-mlp", "cats.zip", "cats.zip holds pictures, and wine-mlp reads a table"),
        ("digits-mlp", "facts.csv", "facts.csv holds texts, and digits-mlp is no language model"),
        ("facts-lm", "cats.pdf", "cats.pdf is neither a text file, nor a table, nor pictures"),
        ("facts-lm", "nowhere", "nowhere is not there"),
    ],
)  # fmt: skip
def test_a_sample_says_what_it_reads(tmp_path: Path, model: str, concepts: str, said: str) -> None:
    if concepts != "nowhere":
        given(tmp_path, concepts)
    with pytest.raises(DataError, match=said):
        ec.load_subject(model, tmp_path / concepts)


def test_a_folder_says_what_it_reads_before_it_is_loaded(tmp_path: Path) -> None:
    language = folder(tmp_path / "lm", architectures=["LlamaForCausalLM"])
    images = folder(tmp_path / "vit", architectures=["ViTForImageClassification"])
    with pytest.raises(
        DataError, match=r"cats.zip holds pictures, and lm is a language model: it reads texts"
    ):
        ec.load_subject(language, given(tmp_path, "cats.zip"))
    with pytest.raises(
        DataError, match=r"facts.csv holds texts, and vit is an image classifier: it reads pict"
    ):
        ec.load_subject(images, given(tmp_path, "facts.csv"))


def test_which_models_read_tables(tmp_path: Path) -> None:
    assert reads_tables("wine-mlp") and not reads_tables("digits-mlp") and not reads_tables("facts-lm")
    assert reads_tables(folder(tmp_path / "own", architecture="mlp"))
    assert not reads_tables(folder(tmp_path / "hf", architecture="mlp", model_type="llama"))
    assert not reads_tables("no/such") and not reads_tables("~nobody-of-that-name/x")
