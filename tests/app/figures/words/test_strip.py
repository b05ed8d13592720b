"""The four numbers are those of the scores, and each says how many inputs stand behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.figures.panels.strip import strip_html
from app.figures.words.strip import Strip, cells

STRIP = Strip(
    base={"a": 1.0, "b": 0.8, "c": 0.5, "d": 0.0},
    edited={"a": 0.1, "b": 0.4, "c": 0.5, "d": 0.2},
    runs=({"a": 1.0, "b": 0.8, "c": 0.5, "d": 0.0}, {"a": 0.7, "b": 0.8, "c": 0.5, "d": 0.0}),
    gone=("a",), concepts=6, counts={"a": 10, "b": 10, "c": 20, "d": 5}, wanted=5,
    what="concept", probe="question", unit="exact recall",
)  # fmt: skip


def said(strip: Strip | None, **options: str) -> list[tuple[str, str]]:
    return [(cell.number, cell.note) for cell in cells(strip, **options)]


def test_each_number_is_a_share_of_what_the_base_knows():
    forgotten, kept, worst, random = said(STRIP)
    assert forgotten == ("90%", "a, 10 questions")
    # (10·0.4 + 20·0.5 + 5·0.2) / (10·0.8 + 20·0.5 + 0) = 15/18; d was never known and can only be learned.
    assert kept == ("83%", "3 of 5 others at random, 35 questions")
    assert worst == ("b: 50%", "exact recall 80% → 40%, least of 3")
    assert random == ("forgets 15%, keeps 100%", "0% to 30% and 100% to 100%, 2 of 5 seeds")
    assert STRIP.sham_forgets is not None
    spread = STRIP.sham_forgets.mean, STRIP.sham_forgets.low, STRIP.sham_forgets.high
    assert spread == pytest.approx((0.15, 0.0, 0.3))


def test_noise_that_destroys_everything_keeps_nothing():
    none = dict.fromkeys("abcd", 0.0)
    assert said(replace(STRIP, runs=(none, none)))[3][0] == "forgets 100%, keeps 0%"


def test_neighbours_that_were_looked_for_do_not_stand_for_all_others():
    strip = replace(STRIP, drawn=("c",))
    assert said(strip)[1] == ("100%", "1 of 5 others at random, 20 questions")
    assert said(strip)[2][0] == "b: 50%"


def test_almost_all_is_not_written_as_all():
    near = replace(STRIP, edited={"a": 0.004, "b": 0.7999, "c": 0.5, "d": 0.0})
    assert said(near)[0][0] == "> 99%" and said(near)[1][0] == "> 99%"
    assert said(replace(STRIP, edited=STRIP.base))[0][0] == "0%"
    assert said(replace(STRIP, edited=STRIP.base))[2] == ("none", "none of the 3 loses anything")


def test_what_is_not_there_is_said():
    none = replace(STRIP, gone=(), base={}, edited={}, runs=())
    assert [number for number, _ in said(none)] == ["–", "–", "–", "–"]
    assert "erased" in said(none)[0][1] and "the same" in said(none)[1][1]
    assert [number for number, _ in said(None)] == ["…"] * 4
    unasked = replace(STRIP, runs=(), wanted=0)
    assert said(unasked, why="not asked for")[3] == ("–", "not asked for")
    assert said(replace(STRIP, runs=()))[3][0] == "…"
    unknown = replace(STRIP, gone=("d",))
    assert said(unknown)[0] == ("–", "the base answers nothing of it right")


def test_names_are_text_and_bars_stay_inside():
    evil = "<script>alert(1)</script>"
    strip = replace(
        STRIP, base={evil: 1.0, "b": 1.0}, edited={evil: 0.0, "b": 2.0}, gone=(evil,),
        counts={evil: 1, "b": 1}, runs=({evil: 1.5, "b": 1.0},),
    )  # fmt: skip
    html = strip_html(cells(strip))
    assert "<script" not in html and html.count("data-cell") == 4
    assert "width:100.0%" in html and "-" not in html.split("width:")[1].split("%")[0]
