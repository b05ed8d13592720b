"""Long work in turns: others are let in between two reports, and what nobody waits for ends."""

from __future__ import annotations

import threading

import pytest

from app.server.results import Remembered
from app.server.turns import Turns, in_turns

SECONDS = 20


def test_others_have_their_turns_whenever_long_work_reports():
    turns, order, taken = Turns(), [], threading.Event()

    def other() -> None:
        with turns:
            order.append("other")

    def work(report):  # noqa: ANN001, ANN202
        thread = threading.Thread(target=other)
        thread.start()
        while not turns._queue:
            thread.join(0.01)
        report(1, 2, "half")
        order.append("work")
        thread.join(SECONDS)
        taken.wait(SECONDS)  # or a slow reader would find the end together with it, and only that
        return "whole"

    steps = []
    for step in in_turns(work, turns=turns):
        steps.append(step)
        if step[1] == "half":
            taken.set()
    assert order == ["other", "work"]
    assert steps[0] == (0.0, "", None) and steps[-1] == (1.0, "", "whole")
    assert (0.5, "half", None) in steps
    with turns:  # and it is nobody's turn any more
        assert turns._depth == 1


def test_what_others_need_not_wait_for_is_done_aside():
    turns, came = Turns(), threading.Event()

    def other() -> None:
        with turns:
            came.set()

    with turns:
        thread = threading.Thread(target=other)
        thread.start()
        with turns.aside():
            assert came.wait(SECONDS)
        assert turns._owner == threading.get_ident()
    thread.join(SECONDS)


@pytest.mark.parametrize("way", ["report", "pause"])
def test_work_that_nobody_waits_for_ends_at_its_next_report(way):
    turns, left, far = Turns(), threading.Event(), []
    ended = threading.Event()

    def work(report):  # noqa: ANN001, ANN202
        try:
            far.append("begun")
            left.wait(SECONDS)
            if way == "report":
                report(1, 2, "half")
            else:
                report.pause()
            far.append("went on")
        finally:
            ended.set()

    steps = in_turns(work, turns=turns)
    next(steps)
    next(steps)  # a portion that takes long does not keep a visitor who leaves
    steps.close()
    left.set()
    assert ended.wait(SECONDS) and far == ["begun"]
    with turns:
        pass


def test_what_goes_wrong_is_said_where_it_is_waited_for():
    def work(report):  # noqa: ANN001, ANN202
        report(1, 4, "a quarter")
        raise ValueError("no such layer")

    turns = Turns()
    with pytest.raises(ValueError, match="no such layer"):
        list(in_turns(work, turns=turns))
    with turns:
        pass


def test_only_a_whole_result_of_work_in_turns_is_kept():
    kept, made = Remembered(), []

    def make(name, report):  # noqa: ANN001, ANN202
        for part in range(3):
            made.append(name)
            report(part + 1, 3, "part")
        return name * 2

    keys = {"a": 1, "b": 2}
    steps = kept.each_in_turns(keys, make, "Making")
    for share, doing, _ in steps:
        if doing == "Making b":
            assert share >= 0.5
            break
    steps.close()
    assert kept.get(1) == "aa" and kept.get(2) is None
    *_, (share, _, found) = kept.each_in_turns(keys, make, "Making")
    assert share == 1 and found == {"a": "aa", "b": "bb"} and made.count("a") == 3
    assert list(kept.each_in_turns(keys, pytest.fail, "Making")) == [(1.0, "", found)]
    *_, last = kept.once(3, lambda report: make("c", report), "Making c")
    assert last == (1.0, "", "cc") and list(kept.once(3, pytest.fail, "Making c")) == [last]
