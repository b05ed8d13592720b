"""The exercises' solutions run, and print what the page says they print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.views.tour.exercises import exercises
from docs.executed import blocks, executed, outputs

PAGE = Path(__file__).parents[1] / "docs" / "exercises.md"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def test_every_solution_prints_what_stands_under_it():
    page = PAGE.read_text(encoding="utf-8")
    known = [text for _, text in blocks(page)]
    assert len(known) == len(re.findall(r"```python", page)) == 11
    for said, printed in zip(known, outputs(page), strict=True):
        # The last digit of a rounded number may differ between machines; 1e-6 and 0 are both nothing.
        assert _NUMBER.sub("#", said) == _NUMBER.sub("#", printed)
        found, wanted = (list(map(float, _NUMBER.findall(text))) for text in (printed, said))
        assert found == pytest.approx(wanted, rel=0.02, abs=0.011), said


def test_there_are_ten_exercises_and_each_has_its_solution():
    page = PAGE.read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"^## (\d+)\. ", page, re.MULTILINE)] == list(range(1, 11))
    assert page.count("<summary>Solution</summary>") == page.count("</details>") == 10
    assert exercises() == page


def test_a_page_is_written_with_what_its_blocks_print():
    first = "a\n\n```python\nx = 2\nprint(x)\n```\n\n```text\nold\n```\n\n"
    page = first + "```python\nprint(x + 1)\n```\n\n```text\n```\n"
    assert executed(page).count("```text\n2\n```") == executed(page).count("```text\n3\n```") == 1
    assert executed(executed(page)) == executed(page)
