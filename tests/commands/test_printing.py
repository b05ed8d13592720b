"""What is printed acts on no terminal, and JSON is whole."""

from __future__ import annotations

import json

import pytest

from engram_core.commands import printing
from engram_core.commands.printing import plain


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
