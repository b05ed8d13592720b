"""Any model with any concepts: what cannot go together, or cannot be read, is said before anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import png

from engram_core.errors import DataError, UnknownNameError
from engram_core.opening.load import load_subject, with_positions
from engram_core.opening.samples import load_sample


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    rows = [{"concept": c, "prompt": f"{c} is", "answer": "old"} for c in ("Rome", "Oslo")]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    for number, label in enumerate(("0", "1")):
        (tmp_path / "p" / label).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "p" / label / f"{i}.png").write_bytes(png(10 * number + i))
    return tmp_path / "p"


def test_a_path_that_can_be_none_is_said() -> None:
    with pytest.raises(DataError, match="^The concepts '~nobody-of-that-name/t.jsonl' are at no path"):
        load_subject("digits-mlp", "~nobody-of-that-name/t.jsonl")


def test_texts_are_for_language_models(texts: Path) -> None:
    with pytest.raises(
        DataError, match="t.jsonl holds texts, and digits-mlp is no language model: it reads pictures"
    ):
        load_subject("digits-mlp", texts)


def test_pictures_are_for_models_that_read_them(digits_folder: Path) -> None:
    with pytest.raises(DataError, match="and authors-lm is a language model: it reads texts"):
        load_subject("authors-lm", digits_folder)


def test_concepts_of_no_known_form_say_which_forms_there_are(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"neither a text file of concepts \(\.jsonl, \.json, \.csv\) nor"):
        load_subject("nobody/none", tmp_path / "t.xlsx")


def test_a_sample_of_pictures_takes_a_folder_in_the_range_of_its_own(digits_folder: Path) -> None:
    found = load_subject("digits-mlp", digits_folder, seed=1)
    own = load_sample("digits-mlp")
    assert list(found.concepts) == ["0", "1"] and found.model is not None
    record = found.concepts["0"].record
    assert record.shape[1:] == own.concepts["0"].record.shape[1:]
    low, high = own.value_range or (0.0, 1.0)
    assert low <= float(record.min()) < float(record.max()) <= high
    said = "A sample of images takes no option 'positions'. It takes held_out, seed"
    with pytest.raises(UnknownNameError, match=said):
        load_subject("digits-mlp", digits_folder, positions="all")


def test_positions_are_for_texts() -> None:
    with pytest.raises(DataError, match="positions and template are for texts"):
        with_positions(load_sample("digits-mlp"), positions="last")


def test_a_language_sample_takes_texts_and_other_positions(texts: Path) -> None:
    sample = load_subject("authors-lm", texts)
    assert list(sample.concepts) == ["Rome", "Oslo"] and sample.concepts.positions == "all"
    assert with_positions(sample, positions="answer").concepts.positions == "answer"
    with pytest.raises(UnknownNameError, match="A language sample takes no option 'seed'"):
        load_subject("authors-lm", texts, seed=3)


@pytest.mark.parametrize("name", ["t.jsonl", "p.zip"])
def test_an_option_that_a_kind_of_model_does_not_take_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    kind = "language" if name == "t.jsonl" else "image"
    with pytest.raises(UnknownNameError, match=f"{kind} model takes no option 'wild'. It takes "):
        load_subject("nobody/none", tmp_path / name, wild=1)
