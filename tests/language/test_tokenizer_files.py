"""A tokenizer from elsewhere gives tokens or a sentence: whatever its files are made to do."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from engram_core.errors import DataError, EngramError, StorageError
from engram_core.language import read_texts
from engram_core.language.generation import prompt_ids
from engram_core.language.hub import load_language_model


def replace(text: str, by: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


def table(base64: str) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": base64}


def around(token: str, ids: list[int]) -> dict[str, Any]:
    special = {token: {"id": token, "ids": ids, "tokens": [token] * len(ids)}}
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": token, "type_id": 0}}],
            "pair": [], "special_tokens": special}  # fmt: skip


def nested(depth: int) -> dict[str, Any]:
    return sequence(nested(depth - 1)) if depth else replace("a", "b")


PADDED = {"direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "!", "pad_to_multiple_of": None}
UNREAD = "no tokenizer that can be read"
FILES: dict[str, tuple[dict[str, Any], str]] = {
    "doubles sixteen times": ({"normalizer": sequence(*[replace("a", "aa")] * 16)}, "65,536 times as long"),
    "one long word": ({"normalizer": replace("a", "b" * 10_000)}, "10,000 times as long"),
    "by an expression": ({"normalizer": replace("", "b" * 99) | {"pattern": {"Regex": "."}}}, "99 times"),
    "writes before": ({"normalizer": {"type": "Prepend", "prepend": "b" * 5000}}, "5,000 times"),
    "when decoded": (
        {"decoder": {"type": "Sequence", "decoders": [replace("a", "aa")] * 16}}, "decoder make a text"
    ),
    "nothing by something": ({"normalizer": replace("", "x")}, "which has no end"),
    "deep": ({"normalizer": nested(20)}, "nested deeper"),
    "many steps": ({"normalizer": sequence(*[replace("a", "b")] * 5000)}, "more than 200 steps"),
    "padded": ({"padding": PADDED | {"strategy": {"Fixed": 10**9}}}, "padding (Fixed) is 1000000000"),
    "put around": ({"post_processor": around("<s>", [1] * 100_000)}, "puts 100,001 tokens around"),
    "an empty token": ({"added_tokens": [{"id": 3, "content": "", "special": True}]}, "is empty"),
    "a broken table": ({"normalizer": table("////fw==")}, UNREAD),
    "a short table": ({"normalizer": table("AAAAAA==")}, UNREAD),
    "an unknown word": ({"model": {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]]}}, UNREAD),
    "no model": ({"model": None}, UNREAD),
    "huge numbers": (
        {"model": {"type": "WordLevel", "vocab": {"a": 2**32 - 1}, "unk_token": "a"}}, "do not belong"
    ),
    "no expression": ({"normalizer": replace("", "") | {"pattern": {"Regex": "("}}}, UNREAD),
}  # fmt: skip


@pytest.fixture
def folder(saved) -> Any:
    """The folder; what a test writes into tokenizer.json is taken back."""
    kept = (saved / "tokenizer.json").read_bytes()
    yield saved
    (saved / "tokenizer.json").write_bytes(kept)


def give(folder: Path, **parts: Any) -> None:
    known = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(known | parts), encoding="utf-8")


@pytest.mark.parametrize(("parts", "told"), FILES.values(), ids=FILES)
def test_files_that_are_made_to_fail_or_to_grow_are_refused(folder, parts: dict, told: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    give(folder, **parts)
    with pytest.raises(StorageError) as caught:
        load_language_model(folder)
    assert told in str(caught.value) and "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # kilobytes


def test_an_expression_that_gives_up_on_a_text_is_a_sentence(folder) -> None:
    slow = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    give(folder, pre_tokenizer=slow)
    _, tokenizer = load_language_model(folder)
    with pytest.raises(DataError, match="tokenizer fails on the text 'aaaa"):
        prompt_ids(tokenizer, "a" * 200 + "b")


@pytest.mark.parametrize("text", ["", "[", "[1]", "[" * 100_000, '{"model": ' + "9" * 5000 + "}", "\ufeff{}"])
def test_a_tokenizer_that_is_no_json_is_refused(folder, text: str) -> None:
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(StorageError, match=r"tokenizer\.json"):
        load_language_model(folder)


def test_a_tokenizer_as_it_should_be_is_read(folder) -> None:
    give(folder, normalizer=sequence({"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581")))
    _, tokenizer = load_language_model(folder)
    assert prompt_ids(tokenizer, "a b")


# -- texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            '{"concept": "a", "text": "' + "x " * 5_000_000 + '"}',
            "a line of 10,000,028 characters; at most 1,000,000",
        ),
        ('{"concept": "a", "text": "' + "x" * 300_000 + '"}', "text has 300,000 characters; at most 250,000"),
        ('{"concept": "' + "n" * 300 + '", "text": "x"}', "the concept's name has 300 characters"),
        ('{"concept": ' + "9" * 5000 + ', "text": "x"}', "a number of thousands of digits"),
        ('{"concept": "a", "text": "x", "' + "k" * 5000 + '": "y"}', "unknown field 'kkk"),
    ],
    ids=["a line of 10 MB", "a long text", "a long name", "5,000 digits", "a long field"],
)
def test_what_is_too_long_is_refused_with_file_and_line(tmp_path, line: str, told: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"concept": "b", "text": "fine"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_texts(path)
    said = str(caught.value)
    assert str(path) in said and "line 2: " in said and told in said and len(said) < 500


def test_a_csv_cell_of_10_mb_is_refused_with_file_and_line(tmp_path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("concept,text\nb,fine\na," + "x " * 5_000_000 + "\n", encoding="utf-8")
    with pytest.raises(EngramError) as caught:
        read_texts(path)
    assert str(path) in str(caught.value) and "line 3" in str(caught.value) and len(str(caught.value)) < 500
