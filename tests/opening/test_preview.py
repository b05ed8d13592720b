"""The first rows of a file: its columns, what they could be, and nothing that grows with the file."""

from __future__ import annotations

import json
import time

import pytest

from engram_core.opening.preview import HEAD, preview

ROWS = [{"topic": f"t{i}", "question": f"what is {i}?", "response": str(i)} for i in range(9)]


def as_csv(mark: str) -> bytes:
    lines = [mark.join(ROWS[0]), *(mark.join(row.values()) for row in ROWS)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (as_csv(","), ".csv"),
        (as_csv(";"), ".CSV"),
        (as_csv("\t"), ".csv"),
        ("\ufeff".encode() + as_csv(","), ".csv"),
        (as_csv(",").decode().encode("utf-16"), ".csv"),
        (json.dumps(ROWS, indent=2).encode(), ".json"),
        ("\n".join(map(json.dumps, ROWS)).encode(), ".jsonl"),
    ],
)
def test_columns_and_three_rows_of_every_kind_of_file(data: bytes, ending: str) -> None:
    found = preview(data, ending)
    assert found.columns == ("topic", "question", "response") and found.known == ""
    assert found.rows == tuple(tuple(row.values()) for row in ROWS[:3])
    assert found.guess() == {"concept": "topic", "prompt": "question", "answer": "response"}
    assert not found.is_table


@pytest.mark.parametrize(
    ("columns", "known"),
    [
        (("concept", "prompt", "answer"), "texts"),
        (("concept", "text", "split"), "texts"),
        (("concept", "text", "note"), ""),
        (("subject", "src", "answers"), "zsRE"),
        (("question", "answer"), "TOFU"),
        (("question", "answer", "paraphrased_question", "perturbed_answer"), "TOFU"),
        # Many files ask and answer; one with a column more is somebody's own.
        (("question", "answer", "topic"), ""),
    ],
)
def test_what_is_known_by_its_fields_is_not_asked(columns: tuple[str, ...], known: str) -> None:
    assert preview((",".join(columns) + "\n" + ",".join("x" * len(columns))).encode(), ".csv").known == known


def test_numbers_with_a_label_are_a_table() -> None:
    found = preview(b"age,kind,height\n1,cat,2.5\n3,dog,4\n", ".csv")
    assert found.is_table and found.numbers == ("age", "height") and found.guess_label() == "kind"
    assert preview(b"a,b,target\n1,2,0\n", ".csv").guess_label() == "target"
    assert preview(b"a,b\n1,2\n", ".csv").guess_label() == ""


@pytest.mark.parametrize(
    ("data", "ending"),
    [(b"", ".csv"), (b"\xff\xfe\xff", ".csv"), (b"{}", ".json"), (b"[1, 2]", ".json"), (b"x\n", ".jsonl"),
     (b"[" * 5000, ".json"), (b"PK", ".zip"), (b"a,a\n1,2\n", ".csv"), (b'"', ".csv"),
     ("ä".encode("latin-1"), ".csv")],
)  # fmt: skip
def test_what_has_no_rows_is_left_to_the_reading(data: bytes, ending: str) -> None:
    assert preview(data, ending) is None


def test_only_the_head_of_a_large_file_is_looked_at_and_a_cut_row_is_left_out() -> None:
    row = json.dumps({"a": "é" * 1000, "b": 1})
    for data, ending in ((f"[{','.join([row] * 300)}]", ".json"), ("\n".join([row] * 300), ".jsonl")):
        assert len(data) > HEAD
        began = time.monotonic()
        found = preview(data.encode(), ending)
        assert found.columns == ("a", "b") and len(found.rows[0][0]) <= 120
        assert time.monotonic() - began < 2


def test_what_is_no_text_is_shown_as_it_stands() -> None:
    found = preview(b'[{"a": {"b": [1]}, "c": null, "d": "x\\n  y"}]', ".json")
    assert found.rows == (('{"b": [1]}', "", "x y"),)
