"""A table is read whole or not at all; a bad column is one line, however long the table is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engram_core.errors import DataError
from engram_core.tabular.table_files import number_or_none, read_table


def saved(folder: Path, content: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_the_column_of_words_is_the_label(tmp_path: Path) -> None:
    table = read_table(saved(tmp_path, "age,kind,height\n1,cat,2.5\n3,dog,-4e1\n"))
    assert table.names == ("age", "height") and table.labels == ("cat", "dog")
    np.testing.assert_array_equal(table.values, [[1, 2.5], [3, -40]])


def test_semicolons_and_tabs_stand_between_columns_too(tmp_path: Path) -> None:
    for mark in ";\t":
        table = read_table(saved(tmp_path, f"age{mark}kind\n1{mark}cat\n2{mark}dog\n"))
        assert table.names == ("age",) and table.labels == ("cat", "dog")


def test_lists_and_lines_of_json_are_tables_too(tmp_path: Path) -> None:
    rows = [{"age": 1, "target": 0}, {"age": 2.5, "target": 1}]
    for name, text in (("t.json", json.dumps(rows)), ("t.jsonl", "\n".join(map(json.dumps, rows)))):
        table = read_table(saved(tmp_path, text, name))
        assert table.labels == ("0", "1") and table.values.ravel().tolist() == [1.0, 2.5]


def test_a_column_called_so_is_the_label_and_one_may_say_another(tmp_path: Path) -> None:
    path = saved(tmp_path, "Class,age,kind\n1.0,2,3\n")
    assert read_table(path).labels == ("1.0",) and read_table(path).names == ("age", "kind")
    assert read_table(path, label="kind").labels == ("3",)


def test_the_model_s_features_are_taken_in_its_order(tmp_path: Path) -> None:
    path = saved(tmp_path, "a,b,c,label\n1,2,3,x\n")
    assert read_table(path, features=["c", "a"]).values.tolist() == [[3, 1]]
    with pytest.raises(
        DataError, match="the model reads a, d, e, and there is no column d, e; found a, b, c"
    ):
        read_table(path, features=["a", "d", "e"])


def test_one_wrong_column_is_one_line(tmp_path: Path) -> None:
    rows = "".join(f"{i},red,{'' if i % 2 else i},x\n" for i in range(100))
    with pytest.raises(DataError) as caught:
        read_table(saved(tmp_path, "age,colour,size,label\n" + rows))
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("2 problems in") and first.endswith("nothing was taken:")
    assert lines == [
        "column 'colour': no value is a number (line 2 has 'red')",
        "column 'size': 50 values are no numbers (line 3 has '')",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "which column says the class is not known; found a, b. Say it: label="),
        ("a,b,c\n1,x,y\n", "which column says the class is not known"),
        ("a,label\n", "there is no row"),
        ("a,a,label\n1,2,x\n", "names the column 'a' twice"),
        ("a,label\n1,x,3\n", r"line 2: 1 value more than columns \(quote the commas\)"),
        ("a,label\n1,\n2,x\n", r"column 'label': 1 rows have no label \(line 2\)"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_table(saved(tmp_path, content))


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'kind'; found a, label"):
        read_table(saved(tmp_path, "a,label\n1,x\n"), label="kind")


def test_what_counts_as_a_number() -> None:
    assert [number_or_none(value) for value in (" 2 ", 3, "1e3")] == [2.0, 3.0, 1000.0]
    assert not any(number_or_none(value) is not None for value in ("", "nan", "inf", None, True, [1], "1,5"))
