"""Text concepts are read from files whole or not at all, and every bad line is named."""

import csv
import io
import json
from pathlib import Path

import pytest
from text_rows import BAD_ROWS, FACT

from engram_core.errors import DataError
from engram_core.language import TextConcept, TextItem, TextSet, read_texts


def saved(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, name: str, content: str | bytes) -> TextSet:
    return read_texts(saved(folder, name, content))


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, name, content)
    return str(caught.value)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# -- files that are good -----------------------------------------------------------------------


def test_jsonl_gives_facts_and_plain_texts_in_the_order_of_the_file(tmp_path):
    rows = (FACT, {"concept": "Rome", "text": "Rome is old."}, FACT | {"answer": "the city of Paris"})
    texts = read(tmp_path, "a.jsonl", lines(*rows))
    assert list(texts) == ["Paris", "Rome"]
    asked = FACT["prompt"]
    assert texts["Paris"].record == (TextItem(asked, "Paris"), TextItem(asked, "the city of Paris"))
    assert texts["Rome"] == TextConcept("Rome", (TextItem("", "Rome is old."),))


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "A.JSONL"])
def test_jsonl_may_have_a_byte_order_mark_blank_lines_and_windows_line_ends(tmp_path, name):
    content = "\ufeff\n" + json.dumps(FACT) + "\r\n  \n\r\n" + json.dumps(FACT) + "\n\n"
    assert len(read(tmp_path, name, content)["Paris"].record) == 2


def test_a_line_separator_inside_a_json_string_is_text_and_not_a_line_end(tmp_path):
    text = "one\u2028two\x85three"
    assert read(tmp_path, "a.jsonl", lines({"concept": "c", "text": text}))["c"].record[0].text == text


def test_csv_gives_the_same_set_as_jsonl(tmp_path):
    sheet = (
        "\ufeffconcept,prompt,answer,text,split\r\n"
        'Paris,"Say, what is the capital?","Paris, of ""course""",,\r\n'
        "\r\n"
        'Paris,"two\nlines",Paris,,probe\r\n'
        "Rome,,,Rome is old.,record\r\n"
    )
    rows = (
        {"concept": "Paris", "prompt": "Say, what is the capital?", "answer": 'Paris, of "course"'},
        {"concept": "Paris", "prompt": "two\nlines", "answer": "Paris", "split": "probe"},
        {"concept": "Rome", "text": "Rome is old."},
    )
    found = read(tmp_path, "a.csv", sheet)
    assert found == read(tmp_path, "a.jsonl", lines(*rows)) == TextSet.of(rows)
    assert found["Paris"].probe == (TextItem("two\nlines", "Paris"),)


def test_csv_columns_may_stand_in_any_order_with_spaces_around_their_names(tmp_path):
    assert read(tmp_path, "a.csv", "text, concept\nHello.,c\n")["c"].record[0].text == "Hello."


def test_the_split_column_parts_recorded_from_held_out(tmp_path):
    rows = (FACT, FACT | {"prompt": "France's capital is", "split": "probe"}, FACT | {"split": "record"})
    concept = read(tmp_path, "a.jsonl", lines(*rows))["Paris"]
    assert [i.prompt for i in concept.record] == [FACT["prompt"]] * 2
    assert [i.prompt for i in concept.probe] == ["France's capital is"]


def test_a_row_that_comes_twice_counts_twice(tmp_path):
    assert len(read(tmp_path, "a.jsonl", lines(FACT, FACT))["Paris"].record) == 2


def test_rows_of_the_background_join_what_is_given_as_background(tmp_path):
    rows = (FACT, {"concept": "(background)", "text": "Rain."}, FACT | {"concept": "(background)"})
    texts = read_texts(saved(tmp_path, "a.jsonl", lines(*rows)), background=["Snow."])
    assert list(texts) == ["Paris"]
    assert texts.background == ("Snow.", "Rain.", "The capital of France is Paris")


# -- files that are not ------------------------------------------------------------------------


def test_all_bad_lines_of_a_jsonl_file_are_named_at_once_and_nothing_is_taken(tmp_path):
    good = json.dumps(FACT)
    content = "\n".join([good, "{broken", "", *(json.dumps(row) for row in BAD_ROWS.values()), good])
    said = refusal(tmp_path, "a.jsonl", content)
    assert said.startswith("11 problems in ") and "a.jsonl; nothing was taken:\n" in said
    assert "\nline 2: not valid JSON (" in said
    for number, reason in enumerate(BAD_ROWS, start=4):
        assert f"\nline {number}: {reason}" in said


def test_all_bad_lines_of_a_csv_file_are_named_at_once_with_the_line_they_end_on(tmp_path):
    sheet = 'concept,prompt,answer\nc,p,a\nc,"p\nq"\n\nc,p,a,b,c\n,p,a\n'
    said = refusal(tmp_path, "a.csv", sheet)
    assert said.splitlines()[1:] == [
        "line 4: empty or missing answer",
        "line 6: 2 values more than columns (quote the commas)",
        "line 7: no concept",
    ]


def test_of_very_many_bad_lines_twenty_are_named_and_the_rest_counted(tmp_path):
    said = refusal(tmp_path, "a.jsonl", "".join(f"{' ' * i}{{\n" for i in range(25)))
    assert said.startswith("25 problems") and "line 20:" in said and "line 21:" not in said
    assert said.endswith("… and 5 more")


def test_what_is_wrong_with_a_column_is_one_line_however_many_rows_have_it(tmp_path):
    rows = [FACT | {"topic": "x"} for _ in range(100)]
    rows[4] = {"concept": "Paris"}
    said = refusal(tmp_path, "a.jsonl", lines(*rows)).splitlines()
    assert said[0].startswith("100 problems") and len(said) == 3
    assert said[1].startswith("lines 1, 2, 3 and 96 more: unknown field 'topic'")
    assert said[2].startswith("line 5: ")
    said = refusal(tmp_path, "a.json", json.dumps([{"concept": "a", "text": 3}] * 9)).splitlines()
    assert said[1] == "entries 1, 2, 3 and 6 more: text must be text; found int"


def test_a_concept_with_probes_alone_is_refused():
    with pytest.raises(DataError, match="concept 'Paris': only probe items"):
        TextSet.of([FACT | {"split": "probe"}, {"concept": "c", "text": "t"}])


@pytest.mark.parametrize("content", ["", "concept\n", "name,text\nc,t\n", "concept,text,note\nc,t,n\n"])
def test_csv_needs_a_first_line_of_known_columns_and_a_row(tmp_path, content):
    assert refusal(tmp_path, "a.csv", content)


def test_csv_says_which_columns_it_knows(tmp_path):
    said = refusal(tmp_path, "a.csv", "concept,Text\nc,t\n")
    assert "columns among concept, prompt, answer, text, split" in said and "found concept, Text" in said


def test_csv_with_a_quote_left_open_names_the_line_where_it_opens(tmp_path):
    said = refusal(tmp_path, "a.csv", 'concept,text\nc,fine\nc,"open\nc,swallowed\nc,too\n')
    assert "line 3: the quote opened on line 3 is never closed" in said and "1 problem" in said


def test_reading_csv_goes_on_after_a_bad_line(tmp_path):
    said = refusal(tmp_path, "a.csv", 'concept,text\nc,"a"b\nc,fine\n,no name\nc,"x"y\n')
    assert "line 2: not valid CSV" in said and "line 4: no concept" in said and "line 5: not valid" in said


def test_a_value_beyond_the_csv_limit_says_so(tmp_path):
    said = refusal(tmp_path, "a.csv", "concept,text\nc,fine\nc," + "x" * 140_000 + "\n")
    assert "more than 131,072 characters" in said and "line 3" in said


def test_an_empty_text_cell_is_called_that(tmp_path):
    assert "line 2: empty text" in refusal(tmp_path, "a.csv", "concept,text\nc,\n")
    assert "line 2: empty text" in refusal(tmp_path, "b.csv", "concept,text,prompt,answer\nc,,,\n")


def test_half_a_character_is_refused_with_its_place(tmp_path):
    said = refusal(tmp_path, "a.jsonl", '{"concept": "c", "text": "ab\\ud800"}\n')
    assert "line 1: text holds half a character at position 3" in said
    with pytest.raises(DataError, match="background text 2: half a character at position 1"):
        TextSet.of([{"concept": "c", "text": "t"}], background=["fine", "\udc00"])


def test_a_file_that_is_not_utf8_says_so_and_where(tmp_path):
    assert "not UTF-8 text (byte 22)" in refusal(tmp_path, "a.jsonl", b'{"concept": "c", "text\xff')
    assert "not UTF-8" in refusal(tmp_path, "a.csv", "concept,text\nc,Köln\n".encode("latin-1"))


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a"])
def test_a_wrong_ending_says_which_are_right(tmp_path, name):
    assert "expected a file ending in .jsonl or .csv" in refusal(tmp_path, name, lines(FACT))


def test_a_missing_file_or_a_folder_is_one_sentence(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="Cannot read"):
            read_texts(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"concept": "a", "text": "x", "text": "y"}', "'text' stands there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"concept": "(background)", "text": "x", "split": "probe"}', "split must be record"),
    ],
)
def test_what_would_be_lost_in_silence_is_refused(line: str, told: str, tmp_path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"concept": "b", "text": "fine"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=told) as caught:
        read_texts(path)
    assert "line 2" in str(caught.value)


def test_a_column_named_twice_is_refused(tmp_path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("concept,text,text\na,x,y\n", encoding="utf-8")
    with pytest.raises(DataError, match="each once"):
        read_texts(path)


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_as_spreadsheets_write_them_are_read(mark: str, coding: str, tmp_path) -> None:
    rows = [(" concept", "prompt", "answer ", "split"), ("Zürich", 'a, "b"; c', "d\te", "record")]
    path = tmp_path / "texts.csv"
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=mark).writerows(rows)
    start = b"\xfe\xff" if coding == "utf-16-be" else b""
    path.write_bytes(start + stream.getvalue().encode(coding))
    (concept,) = read_texts(path).concepts
    assert (concept.name, concept.record) == ("Zürich", (TextItem('a, "b"; c', "d\te"),))


def test_a_value_too_many_names_what_stands_between_values(tmp_path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("concept;text\na;b;c\n")
    with pytest.raises(DataError, match="1 value more than columns .quote the semicolons"):
        read_texts(path)


def test_nothing_in_a_field_is_no_field(tmp_path) -> None:
    path = tmp_path / "texts.jsonl"
    rows = [
        {"concept": "a", "prompt": "p", "answer": "q", "text": None},
        {"concept": "a", "prompt": None, "answer": None, "text": "t", "split": "probe"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (concept,) = read_texts(path).concepts
    assert (concept.record, concept.probe) == ((TextItem("p", "q"),), (TextItem("", "t"),))
    path.write_text(json.dumps({"concept": None, "text": "t"}))
    with pytest.raises(DataError, match="concept must be text; found NoneType"):
        read_texts(path)


def test_a_list_of_objects_is_told_how_to_be_written(tmp_path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps([{"concept": "a", "text": "t"}]))
    with pytest.raises(DataError, match="found list. Put one object on each line"):
        read_texts(path)
