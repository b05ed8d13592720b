"""The tour claims nothing that its figures do not show: answers and sentences, held against the numbers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from app.compute.experiments import EXPERIMENTS
from app.session.visitors import base_of
from app.views.tour.lessons import LESSONS
from engram_core.progress import drain

DIGITS = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def found() -> dict[str, pd.DataFrame]:
    """Give the whole table of every experiment."""
    tables = {}
    for name, experiment in EXPERIMENTS.items():
        base = base_of(experiment.model) if experiment.model else None
        tables[name] = pd.concat([experiment.given(base), drain(experiment.asked(base))], ignore_index=True)
    return tables


def values(table: pd.DataFrame, edit: str, measure: str = "score") -> dict[str, float]:
    rows = table[(table["edit"] == edit) & (table["measure"] == measure)]
    return dict(zip(rows["of"], rows["value"], strict=True))


def percents(text: str) -> list[float]:
    read = text.replace("\\", "").replace("−", "-")
    return [float(one) for one in re.findall(r"[-+]?\d+(?:\.\d+)?(?=%| points)", read)]


def without_seven(scores: dict[str, float]) -> float:
    return float(np.mean([value for name, value in scores.items() if name != "7"]))


def test_every_step_has_an_experiment_and_a_right_answer_among_its_options(found):
    assert [lesson.experiment for lesson in LESSONS] == list(EXPERIMENTS)
    for lesson in LESSONS:
        assert 0 <= lesson.right(found[lesson.experiment]) < len(lesson.options), lesson.title
        assert percents(lesson.finding(found[lesson.experiment])), lesson.title


def test_no_place_is_right_too_often(found):
    """Whoever always takes the same place must not do well."""
    right = [lesson.right(found[lesson.experiment]) for lesson in LESSONS]
    assert max(map(right.count, set(right))) <= len(LESSONS) / 2


def test_what_stands_in_the_text_is_what_the_numbers_are(found):
    seven = values(found["necessity"], "7 erased")
    base = values(found["necessity"], "base")
    said = percents(LESSONS[3].finding(found["necessity"]))
    assert said[:4] == pytest.approx(
        [100 * base["7"], 100 * seven["7"], 100 * without_seven(base), 100 * without_seven(seven)], abs=0.051
    )
    noise = values(found["control"], "random change of the size of 7: mean")
    said = percents(LESSONS[4].finding(found["control"]))
    assert said[1] == pytest.approx(100 * noise["7"], abs=0.051)
    assert said[3] == pytest.approx(100 * without_seven(noise), abs=0.051)
    alone = values(found["sufficiency"], "7 alone", "share called 7")
    said = percents(LESSONS[5].finding(found["sufficiency"]))
    assert said == pytest.approx([100 * alone["7"], 100 * without_seven(alone)], abs=0.051)
    hollow = "hollow" in LESSONS[5].finding(found["sufficiency"])
    assert hollow == (alone["7"] - without_seven(alone) < 0.05)


def test_the_neighbours_that_are_named_are_those_that_change(found):
    table = found["neighbours"]
    before, after = values(table, "base"), values(table, "Shirt erased")
    said = LESSONS[7].finding(table).replace("\\", "")
    losing, _, gaining = said.partition(" lose")
    for name in before.keys() - {"Shirt"}:
        change = after[name] - before[name]
        named = re.search(rf"(?<!\w){re.escape(name)} \((\S+) points\)", said)
        if abs(change) < 0.0099:
            assert not named
        elif named:
            assert name in (losing if change < 0 else gaining)
            assert percents(named[0]) == pytest.approx([100 * change], abs=0.051)
    worst = min(before.keys() - {"Shirt"}, key=lambda name: after[name] - before[name])
    assert LESSONS[7].options[LESSONS[7].right(table)] in (worst, "None of these")


def test_what_the_reasons_take_for_granted_is_so(found):
    """The text below an answer explains it; these are the answers that it explains."""
    right = {lesson.experiment: lesson.right(found[lesson.experiment]) for lesson in LESSONS}
    assert right == {
        "engram": 2, "reactivation": 1, "specificity": 2, "necessity": 0, "control": 1, "sufficiency": 1,
        "strength": 0, "neighbours": 0, "language": 2, "limits": 0,
    }  # fmt: skip
