"""A row of a table and a time to wait, in words."""

import pytest

from app.figures.words.duration import duration
from app.figures.words.values import say_moved_values


def test_what_was_moved_is_named_with_what_it_was() -> None:
    assert say_moved_values("input 3", []) == "your values, the same as in input 3"
    moved = [(f"f{i}", float(i), i + 0.5) for i in range(5)]
    assert say_moved_values("input 3", moved[:1]) == "input 3, with f0 0.5 (was 0)"
    said = say_moved_values("input 3", moved)
    assert said.endswith("f2 2.5 (was 2) and 2 more") and "f3" not in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "a few seconds"),
        (9.9, "a few seconds"),
        (12, "about 10 s"),
        (63, "about 65 s"),
        (100, "about 2 min"),
    ],
)
def test_a_time_is_said_no_more_exactly_than_it_can_be_known(seconds: float, said: str) -> None:
    assert duration(seconds) == said
