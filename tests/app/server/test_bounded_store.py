"""A bounded shelf: who must give way to whom, and that what is at work takes room."""

from __future__ import annotations

import pytest

from app.server.bounded_store import BoundedStore, FullError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shelf(most: int = 2, at_work: set[str] | None = None) -> tuple[BoundedStore[str], Clock]:
    clock, busy = Clock(), at_work if at_work is not None else set()
    return BoundedStore(most, 600, busy=lambda value: value in busy, clock=clock), clock


def test_the_one_unused_the_longest_gives_way():
    held, clock = shelf()
    held.put("a", lambda: "A", "one")
    held.put("b", lambda: "B", "two")
    clock.now = 500
    assert held.get("a", "one") == "A"
    clock.now = 601  # b rests, a was used a moment ago
    assert held.put("c", lambda: "C", "three") == ["b"]
    assert list(held) == ["a", "c"] and held.get("b") is None


def test_nothing_that_another_visitor_used_lately_gives_way():
    held, clock = shelf()
    held.put("a", lambda: "A", "one")
    clock.now = 60
    held.put("b", lambda: "B", "two")
    with pytest.raises(FullError) as caught:
        held.put("c", lambda: pytest.fail("there is no room for it"), "three")
    assert (caught.value.count, caught.value.minutes) == (2, 9) and list(held) == ["a", "b"]
    # One's own gives way, unless somebody else uses it too.
    assert held.put("c", lambda: "C", "one") == ["a"]
    held.get("c", "two")
    with pytest.raises(FullError):
        held.put("d", lambda: "D", "one")


def test_what_is_at_work_takes_room_though_its_name_is_given_away():
    at_work = {"A"}
    held, clock = shelf(2, at_work)
    held.put("a", lambda: "A", "one")
    held.put("a", lambda: "A2", "one")
    assert held.get("a") == "A2" and len(list(held)) == 2 and held.opened_by("one") == ["a"]
    at_work.add("A2")
    clock.now = 10_000
    with pytest.raises(FullError):
        held.put("a", lambda: pytest.fail("two are at work"), "one")
    at_work.discard("A")
    held.put("a", lambda: "A3", "one")
    assert held.get("a") == "A3" and len(list(held)) == 2


def test_what_is_kept_takes_no_room_and_is_everybodys():
    held, _ = shelf(1)
    held.keep("k", "K")
    assert held.put("k", lambda: pytest.fail("it is there"), "one") == []
    held.put("a", lambda: "A", "one")
    assert held.get("k", "two") == "K" and list(held) == ["k", "a"] and "k" in held
    assert held.kept == ("k",) and held.opened_by("one") == ["a"]


def test_a_visitor_who_comes_again_is_no_other():
    held, _ = shelf(1)
    held.put("a", lambda: "A", "one")
    held.get("a", "one again")
    with pytest.raises(FullError):
        held.put("b", lambda: "B", "one")
    held.rename("one again", "one")
    assert held.put("b", lambda: "B", "one") == ["a"]
    held.rename("one", "1")
    assert held.opened_by("1") == ["b"] and not held.opened_by("one")
