"""What is printed acts on no terminal, and JSON is whole."""

from __future__ import annotations

import io
import json

import pytest

from engram_core.commands import printing
from engram_core.commands.printing import PlainConsole, plain, print_table


@pytest.mark.parametrize("text", ["\x00\x07\x08", "\x9b31m", "\u2028", "\udc80", "\u202e\u2066", "\r"])
def test_nothing_that_acts_on_a_terminal_is_printed(text: str) -> None:
    said = plain(f"a{text}b")
    assert said.startswith("a\\") and said.endswith("b") and said.isprintable()


def test_what_people_write_is_printed_as_it_is() -> None:
    for text in ("naïve ‖E‖ 東京 🙂 e\u0301", "two\nlines\tand a tab", ""):
        assert plain(text) == text


def test_json_is_whole_whatever_the_stream_can_hold(monkeypatch, capfd) -> None:
    for value in ("東京", "half \udc80", "[/INST]"):
        printing.print_json({"name": value})
        assert json.loads(capfd.readouterr().out)["name"] == value


COLUMNS = ["concept", *(f"a column with a long name {i}" for i in range(9))]
ROWS = [[f"concept {i}", *(float(100 * i + j) + 0.125 for j in range(9))] for i in range(3)]


def printed(*, terminal: bool, width: int) -> str:
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=terminal, width=width, color_system=None)
    print_table(console, "A title", COLUMNS, ROWS, caption="A caption")
    return out.getvalue()


def test_a_file_gets_one_table_as_wide_as_it_is():
    text = printed(terminal=False, width=80)
    (head,) = [line for line in text.splitlines() if "concept " in line and "long name" in line]
    assert all(name in head for name in COLUMNS)
    for row in ROWS:
        (line,) = [line for line in text.splitlines() if row[0] in line]
        assert all(f"{value:.3f}" in line for value in row[1:])


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_narrow_terminal_gets_the_columns_in_several_tables(width):
    text = printed(terminal=True, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert all(name in text for name in COLUMNS) and text.count("A caption") == 1
    for row in ROWS:
        lines = [line for line in text.splitlines() if row[0] in line]
        assert len(lines) > 1 and all(f"{value:.3f}" in " ".join(lines) for value in row[1:])


def test_a_table_that_fits_is_one():
    assert printed(terminal=True, width=400).count("A title") == 1
