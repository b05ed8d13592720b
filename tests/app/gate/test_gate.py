"""The gate's parts, each alone: what is put together, whose turn it is, and when a visit ends."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.runtime.state import SessionState

from app.gate.fair import Account, Runs
from app.gate.limits import Bucket, Limits
from app.gate.one_run import OneRunState
from app.gate.reruns import Pending, TooMuch
from app.gate.visit import Visit

LIMITS = replace(Limits(), silent_seconds=0.5, stuck_seconds=0.5)


def state(query: str = "", fragment: str = "", **widgets: int | bool) -> ClientState:
    asked = ClientState(query_string=query, fragment_id=fragment)
    for name, value in widgets.items():
        kind = "trigger_value" if isinstance(value, bool) else "int_value"
        asked.widget_states.widgets.append(WidgetState(id=name, **{kind: value}))  # type: ignore[arg-type]
    return asked


def values(asked: ClientState) -> dict[str, Any]:
    return {w.id: getattr(w, w.WhichOneof("value") or "") for w in asked.widget_states.widgets}


def test_of_many_requests_the_newest_values_and_every_press_remain():
    pending = Pending(100)
    pending.add(state("a=1", slider=1, button=True))
    pending.add(state("a=2", slider=2, button=False, other=5))
    pending.add(state("a=3", slider=3))
    taken = pending.take()
    assert values(taken) == {"slider": 3, "button": True, "other": 5} and taken.query_string == "a=3"
    assert not pending


def test_fragments_wait_side_by_side_until_the_whole_page_is_asked_for():
    pending = Pending(100)
    for name in ("one", "two", "one"):
        pending.add(state("q", name, **{name: 1}))
    assert [pending.take().fragment_id for _ in range(2)] == ["one", "two"] and not pending
    pending.add(state("q", "one", one=1))
    pending.add(state("q", whole=2))
    pending.add(state("q", "two", two=3))
    taken = pending.take()
    assert not taken.fragment_id and values(taken) == {"one": 1, "whole": 2, "two": 3} and not pending
    for number in range(50):
        pending.add(state("q", f"f{number}"))
    assert not pending.take().fragment_id and not pending


def test_a_step_back_in_the_browser_is_not_lost():
    pending = Pending(100)
    pending.add(ClientState(query_string="page=live", is_history_navigation=True))
    pending.add(ClientState(query_string="page=live"))
    assert pending.take().is_history_navigation


def test_more_widgets_than_a_page_has_are_too_many():
    pending = Pending(3)
    pending.add(state(a=1, b=1))
    with pytest.raises(TooMuch):
        pending.add(state(c=1, d=1))


def test_who_had_little_goes_first_and_the_greedy_last():
    async def order() -> list[str]:
        runs, done = Runs(1, 60, most_greedy=1), []
        holder = Account()
        await runs.turn(holder)
        people = {"much": Account(5.0), "greedy": Account(0.0, greedy=True), "little": Account(0.1)}

        async def wait(name: str) -> None:
            await runs.turn(people[name])
            done.append(name)
            runs.done(people[name])

        waiting = [asyncio.create_task(wait(name)) for name in people]
        await asyncio.sleep(0)
        assert runs.waited_for
        runs.done(holder)
        await asyncio.gather(*waiting)
        return done

    assert asyncio.run(order()) == ["little", "much", "greedy"]


def test_a_place_is_given_back_after_its_share_but_not_by_the_greedy():
    async def places() -> tuple[bool, bool]:
        runs = Runs(1, 0.1)
        await runs.turn(Account())
        await asyncio.wait_for(runs.turn(Account()), 2)
        greedy = Account(greedy=True)
        await asyncio.wait_for(runs.turn(greedy), 2)
        try:
            await asyncio.wait_for(runs.turn(Account()), 0.4)
        except TimeoutError:
            runs.done(greedy)
            await asyncio.wait_for(runs.turn(Account()), 2)
            return True, not runs.waited_for
        return False, False

    assert asyncio.run(places()) == (True, True)


def test_a_bucket_fills_again_and_what_is_owed_comes_first():
    bucket = Bucket(2, 1000)
    assert bucket.take() and bucket.take(0.5) and not bucket.take(5)
    slow = Bucket(2, 0.001)
    slow.owe(3)
    assert slow.owes and not slow.take() and slow.wait() > 1000
    slow.owe(100)
    assert slow.wait() <= 3000 + 1


class Wire:
    """A browser's end of a visit."""

    def __init__(self, *messages: bytes, takes: bool = True) -> None:
        self.messages, self.takes, self.sent, self.aborted = list(messages), takes, [], False

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return {"type": "websocket.receive", "bytes": self.messages.pop(0)}
        await asyncio.sleep(60)
        raise AssertionError

    async def send(self, message: Any) -> None:
        if not self.takes:
            await asyncio.sleep(60)
        self.sent.append(message)

    def abort(self) -> None:
        self.aborted = True


def visited(wire: Wire, *, answers: int = 0, seconds: float = 6) -> list[dict[str, Any]]:
    """Return what Streamlit is given, until it is told that the visit has ended."""
    given: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(answers):
            asyncio.get_running_loop().create_task(send({"type": "websocket.send", "bytes": b""}))
        while True:
            given.append(await receive())
            if given[-1]["type"] == "websocket.disconnect":
                return

    async def run() -> None:
        visit = Visit(LIMITS, Runs(2, 1.0), {"engram.abort": wire.abort}, wire.receive, wire.send)
        await asyncio.wait_for(visit.run(app), seconds)

    asyncio.run(run())
    return given


RERUN = BackMsg(rerun_script=state("page=learn")).SerializeToString()


def test_a_visit_that_takes_nothing_or_asks_for_nothing_is_ended():
    deaf, silent = Wire(RERUN, takes=False), Wire()
    assert visited(deaf, answers=1)[-1]["code"] == 1008 and deaf.aborted
    assert visited(silent)[-1]["code"] == 1008
    assert silent.sent == [{"type": "websocket.close", "code": 1008}] or silent.aborted


def test_only_messages_that_a_page_needs_get_through():
    orders = [
        BackMsg(clear_cache=True),
        BackMsg(load_git_info=True),
        BackMsg(set_run_on_save=True),
        BackMsg(),
    ]
    install = BackMsg()
    install.backend_operation_request.install_skills.SetInParent()
    useful = [BackMsg(stop_script=True), BackMsg(app_heartbeat=True)]
    texts = [order.SerializeToString() for order in (*orders, install, *useful)]
    given = visited(Wire(*texts))
    assert [message.get("bytes") for message in given[:-1]] == [one.SerializeToString() for one in useful]


def test_a_hundred_requests_become_few_runs():
    given = visited(Wire(*[RERUN] * 50, *[b"\xff"]))
    assert sum(message["type"] == "websocket.receive" for message in given) <= 6
    assert given[-1]["code"] == 1002


def test_a_run_that_was_replaced_touches_no_value_any_more():
    shared, stopped = SessionState(), threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise StopException

    old, new = OneRunState(shared, check), OneRunState(shared, lambda: None)
    old["a"] = 1
    stopped.set()
    for touch in (lambda: old["a"], lambda: old.__setitem__("a", 2), lambda: old.filtered_state):
        with pytest.raises(StopException):
            touch()
    assert new["a"] == 1


def test_two_runs_walk_and_change_the_values_without_meeting():
    shared, faults = SessionState(), []
    runs = [OneRunState(shared, lambda: None) for _ in range(2)]

    def change(run: OneRunState) -> None:
        try:
            for number in range(400):
                run[f"k{number % 7}"] = number
                assert isinstance(run.filtered_state, dict)
                if f"k{number % 5}" in run:
                    run.reset_state_value(f"k{number % 5}", number)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=change, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
