"""The one form of long work: drained, watched, stopped in the middle, gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from engram_core.numerics.precision import exactly
from engram_core.progress import Recent, Step, Steps, drain, each, nested, once, watch


def squares(count: int, made: list[int] | None = None) -> Steps[list[int]]:
    """Square numbers one by one."""
    found: list[int] = []
    for number in range(count):
        yield Step(number, count, f"squaring {number}", list(found))
        if made is not None:
            made.append(number)
        found.append(number**2)
    yield Step(count, count, "squared", list(found))
    return found


def test_draining_returns_the_result_and_tells_of_every_piece_once() -> None:
    told: list[tuple[int, int | None, str]] = []
    assert drain(squares(3), lambda *step: told.append(step)) == [0, 1, 4]
    assert told == [(1, 3, "squaring 1"), (2, 3, "squaring 2"), (3, 3, "squared")]
    assert drain(squares(0)) == []


def test_every_step_is_seen_in_order_and_its_partial_result_is_the_beginning_of_the_whole() -> None:
    seen: list[Step[Any]] = []
    whole = watch(squares(4), seen.append)
    assert [step.done for step in seen] == [0, 1, 2, 3, 4]
    assert all(step.partial == whole[: int(step.done)] for step in seen)
    assert [step.share for step in seen] == [0, 0.25, 0.5, 0.75, 1]
    assert Step(3, None, "nobody knows").share == 0 and Step(1, 0, "nothing to do").share == 0


def test_an_error_of_who_watches_stops_the_work_at_once() -> None:
    made: list[int] = []
    work = squares(9, made)

    def see(step: Step[Any]) -> None:
        if step.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(work, see)
    assert made == [0, 1]
    with pytest.raises(StopIteration):
        next(work)


def test_work_within_work_is_said_as_a_piece_of_it_and_stopped_with_it() -> None:
    made: list[int] = []

    def outer() -> Iterator[Step[str]]:
        found = yield from nested(squares(4, made), done=1, size=2, total=10, what="", partial="half")
        return f"{sum(found)}"

    steps = outer()
    seen = [next(steps) for _ in range(3)]
    assert [step.done for step in seen] == [1, 1.5, 2] and {step.total for step in seen} == {10}
    assert {step.partial for step in seen} == {"half"} and seen[1].what == "squaring 1"
    steps.close()
    assert made == [0, 1]
    assert drain(outer()) == "14"
    named = nested(squares(2), what="all of it")
    assert {step.what for step in named} == {"all of it"}


def test_what_is_remembered_is_not_done_again_and_what_was_stopped_is() -> None:
    memory, made = Recent(), list[int]()
    steps = once(memory, "squares", lambda: squares(3, made))
    next(steps)
    next(steps)
    steps.close()
    assert memory.get("squares") is None and made == [0]
    assert drain(once(memory, "squares", lambda: squares(3, made))) == [0, 1, 4]
    assert made == [0, 0, 1, 2]
    assert list(once(memory, "squares", lambda: squares(3, made))) == []  # no step: it takes no time
    assert drain(once(memory, "squares", lambda: squares(3, made))) == [0, 1, 4] and len(made) == 4


def test_results_by_name_go_on_where_they_were_left() -> None:
    memory, made = Recent(), list[str]()

    def make(name: str) -> str:
        made.append(name)
        return name.upper()

    keys = [(name, ("letter", name)) for name in "abc"]
    steps = each(memory, keys, make, what="Making")
    assert next(steps) == Step(0, 3, "Making a", {})
    assert next(steps) == Step(1, 3, "Making b", {"a": "A"})
    steps.close()
    rest = list(each(memory, keys, make, what="Making"))
    assert [(step.done, step.what) for step in rest] == [(1, "Making b"), (2, "Making c"), (3, "Making c")]
    assert rest[-1].partial == {"a": "A", "b": "B", "c": "C"}
    assert list(each(memory, keys, make, what="Making")) == []
    assert drain(each(memory, keys, make, what="Making")) == {"a": "A", "b": "B", "c": "C"}
    assert made == ["a", "b", "c"]


def test_every_step_is_exact_and_between_two_everything_is_as_the_caller_has_it() -> None:
    @exactly
    def work() -> Iterator[torch.dtype]:
        first = torch.ones(2, 2) @ torch.ones(2, 2)
        yield first.dtype
        second = torch.ones(2, 2) @ torch.ones(2, 2)
        yield second.dtype
        assert not torch.is_inference_mode_enabled()
        return "done"

    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        steps = work()
        assert next(steps) == torch.float32
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        assert torch.is_inference_mode_enabled()
        assert next(steps) == torch.float32
        with pytest.raises(StopIteration, match="done"):
            next(steps)
    closed = work()
    next(closed)
    closed.close()
