"""Long work in turns: others are let in between two steps, and what nobody waits for ends."""

from __future__ import annotations

import threading

import pytest

from app.server.fair_lock import FairLock, lock_each_step
from app.server.results import Remembered
from engram_core.progress import Step, drain, once

SECONDS = 20


def waiting(lock: FairLock, order: list[str]) -> threading.Thread:
    """Begin to ask for a turn in another thread, and return it when it stands in line or has had it."""

    def other() -> None:
        with lock:
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    while thread.is_alive() and not lock._queue:
        thread.join(0.01)
    return thread


def test_others_have_their_turns_between_two_steps():
    lock, order, others = FairLock(), [], []

    def work():
        others.append(waiting(lock, order))
        assert order == [], "within a step nobody else has a turn"
        yield Step(1, 2, "half", "a")
        order.append("work")
        return "ab"

    steps = lock_each_step(work(), lock=lock)
    assert next(steps) == Step(1, 2, "half", "a")
    others[0].join(SECONDS)
    with pytest.raises(StopIteration, match="ab"):
        next(steps)
    assert order == ["other", "work"]
    with lock:  # and it is nobody's turn any more
        assert lock._depth == 1


def test_nobody_waits_for_a_step_that_is_long():
    lock, order = FairLock(), []

    def work():
        yield Step(0, 2, "something long follows", long=True)
        waiting(lock, order).join(SECONDS)
        order.append("long")
        yield Step(1, 2, "something short follows")
        assert lock._owner == threading.get_ident()
        return "done"

    assert drain(lock_each_step(work(), lock=lock)) == "done" and order == ["other", "long"]


def test_work_that_nobody_waits_for_ends_with_its_step():
    lock, far = FairLock(), []

    def work():
        try:
            for number in range(3):
                yield Step(number, 3, "working")
                far.append(number)
        finally:
            far.append("ended")

    steps = lock_each_step(work(), lock=lock)
    next(steps)
    next(steps)
    steps.close()
    assert far == [0, "ended"]
    with lock:
        pass


def test_what_goes_wrong_is_said_where_it_is_waited_for():
    def work():
        yield Step(1, 4, "a quarter")
        raise ValueError("no such layer")

    lock = FairLock()
    with pytest.raises(ValueError, match="no such layer"):
        drain(lock_each_step(work(), lock=lock))
    with lock:
        pass


def test_only_a_whole_result_of_work_in_turns_is_kept_and_it_is_there_for_all():
    kept, made = Remembered(), []

    def make():
        for part in range(3):
            yield Step(part, 3, "part")
            made.append(part)
        return "whole"

    steps = lock_each_step(once(kept, "key", make))
    next(steps)
    next(steps)
    steps.close()
    assert kept.get("key") is None and made == [0]
    assert drain(lock_each_step(once(kept, "key", make))) == "whole" == kept.get("key")
    assert made == [0, 0, 1, 2] and list(lock_each_step(once(kept, "key", make))) == []
