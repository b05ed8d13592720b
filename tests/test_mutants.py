"""The check of the tests themselves: what is drawn, which tests are run, and what is told of a survivor."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import mutants

NAMES = [f"engram_core.solving.filters.xǁSharpnessǁweights__mutmut_{i}" for i in range(30)]


def test_one_seed_draws_one_sample_and_zero_draws_all() -> None:
    assert mutants.drawn(NAMES, 5, 1) == mutants.drawn(reversed(NAMES), 5, 1)
    assert len(set(mutants.drawn(NAMES, 5, 1))) == 5 and mutants.drawn(NAMES, 5, 2) != mutants.drawn(
        NAMES, 5, 1
    )
    assert mutants.drawn(NAMES, 9, 1)[:5] == mutants.drawn(NAMES, 5, 1)
    assert sorted(mutants.drawn(NAMES, 0, 1)) == sorted(mutants.drawn(NAMES, 99, 1)) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (NAMES[3], "solving.filters.Sharpness.weights"),
        ("engram_core.editing.edit.x__strengths__mutmut_12", "editing.edit._strengths"),
        ("engram_core.editing.edit.xǁEditǁ__init____mutmut_1", "editing.edit.Edit.__init__"),
        ("engram_core.editing.bake.x_baked__mutmut_2", "editing.bake.baked"),
    ],
)
def test_a_mutant_is_told_by_the_name_of_its_function(name: str, told: str) -> None:
    assert mutants.function_of(name) == told


def test_a_function_is_tried_with_its_own_file_and_every_file_that_reaches_it() -> None:
    tests = ["tests/a/test_one.py::x", "tests/a/test_one.py::y[::1]", "tests/b/test_two.py::z",
             "tests/solving/test_filters.py::own", "tests/a/test_one.py::slow",
             "tests/solving/test_filters.py::slow"]  # fmt: skip
    reached = {"engram_core.solving.filters.x_f": ["tests/a/test_one.py::y[::1]"]}
    found = mutants.widened(reached, {test: 100.0 if "slow" in test else 0.1 for test in tests})
    assert found == {"engram_core.solving.filters.x_f": [tests[0], tests[1], tests[3], tests[5]]}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('raise DataError(f"no {name}")', 'raise DataError(f"XXno {name}XX")', True),
        ('raise DataError(f"no {name}")', "raise DataError(None)", False),
        ('yield Step(0, n, "x")', 'yield Step(1, n, "x")', False),
        ('"the first half of a sentence "', '"XXthe first half of a sentence XX"', True),
        ('if form == "weights":', 'if form != "weights":', False),
    ],
)
def test_a_change_of_words_alone_is_told_from_others(before: str, after: str, words: bool) -> None:
    assert mutants.Survivor("f", before, after).words == words


def test_the_page_counts_and_shows_what_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {NAMES[0]: mutants.Survivor("solving.filters.Sharpness.weights", "a | b", "a & b"),
               NAMES[1]: mutants.Survivor("solving.filters.Sharpness.weights", 'say("x")', 'say("XXxXX")'),
               NAMES[2]: mutants.Survivor("solving.filters.Sharpness.weights", "n = 1", "n = 2")}  # fmt: skip
    monkeypatch.setattr(mutants, "survivor", changed.__getitem__)
    monkeypatch.setattr(mutants, "JUDGED", tmp_path / "judged.toml")
    entry = '[[judged]]\nfunction = "solving[.]filters.*"\nchange = "n = 2"\nword = "equivalent"\n'
    mutants.JUDGED.write_text(entry, encoding="utf-8")
    monkeypatch.setattr(mutants.importlib.metadata, "version", lambda _: "3")
    codes = {NAMES[0]: 0, NAMES[1]: 0, NAMES[2]: 33, NAMES[3]: 1, NAMES[4]: -24}
    text = mutants.page((5, 30), 7, codes, 10.0)
    assert "30 mutants, a sample of 5, drawn with seed 7; 2 s of a processor each" in text
    assert "| noticed | 2 (40%) |" in text and "| survived | 2 |" in text and "| no test | 1 |" in text
    assert "| of these killed | 1 |" in text and "| of these timed out or crashed | 1 |" in text
    assert r"| `` a \| b `` | `` a & b `` | not judged yet |" in text
    assert "| wording |" in text and "| `` n = 1 `` | `` n = 2 `` | equivalent |" in text
    assert "all of them" in mutants.page((30, 30), 7, codes, 10.0)


def test_the_page_is_of_the_rooms_that_are_there() -> None:
    for room in mutants.ROOMS:
        assert (mutants.ROOT / room).is_dir() and room in mutants.PAGE.read_text(encoding="utf-8")
