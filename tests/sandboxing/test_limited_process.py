"""Limits follow the size of what is read, and a process that keeps them gives its answer or a sentence.

What foreign files do to such a process is tried in tests/attacks/test_limited_process.py.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path

import pytest

from engram_core.errors import DataError, EngramError, LimitError, UnknownNameError
from engram_core.sandboxing import limited_process as module
from engram_core.sandboxing import limits
from engram_core.sandboxing.limited_process import run_limited
from engram_core.sandboxing.limits import GB, Limits, free_bytes


def test_limits_grow_with_what_is_read_and_can_be_given(monkeypatch):
    small, large = Limits.for_bytes(0), Limits.for_bytes(3 * GB, 10**7)
    assert small.seconds < large.seconds and small.memory <= large.memory
    monkeypatch.setenv("ENGRAM_CHECK_SECONDS", "7.5")
    monkeypatch.setenv("ENGRAM_CHECK_MEMORY", "1.5")
    assert Limits.for_bytes(3 * GB) == Limits(7.5, 3 * GB // 2)
    for wrong in ("0", "-1", "nan", "much", "inf"):
        monkeypatch.setenv("ENGRAM_CHECK_SECONDS", wrong)
        with pytest.raises(EngramError, match="ENGRAM_CHECK_SECONDS should be a number"):
            Limits.for_bytes(0)


def test_memory_is_bounded_by_what_is_free_and_never_below_one_gigabyte(monkeypatch):
    monkeypatch.delenv("ENGRAM_CHECK_MEMORY", raising=False)
    monkeypatch.setattr(limits, "free_bytes", lambda: 10 * GB)
    assert Limits.for_bytes(0).memory == 2 * GB
    assert Limits.for_bytes(100 * GB).memory == 8 * GB
    monkeypatch.setattr(limits, "free_bytes", lambda: GB // 2)
    assert Limits.for_bytes(100 * GB).memory == GB
    monkeypatch.setattr(limits, "free_bytes", lambda: None)
    assert Limits.for_bytes(GB, 10).memory == 8 * GB + 400


def test_time_grows_with_weights_and_data_up_to_half_an_hour(monkeypatch):
    monkeypatch.delenv("ENGRAM_CHECK_SECONDS", raising=False)
    assert Limits.for_bytes(0).seconds == 120
    assert Limits.for_bytes(2 * GB, 3 * 2**20).seconds == 120 + 240 + 18
    assert Limits.for_bytes(10**15).seconds == 1800


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much is free")
def test_free_memory_is_what_the_system_says(monkeypatch):
    found = free_bytes()
    assert found is not None and 0 < found <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for text in ("", "MemTotal: 1 kB\n", "MemAvailable: much kB\n"):
        monkeypatch.setattr(Path, "read_text", lambda *_a, said=text, **_k: said)
        assert free_bytes() is None
    monkeypatch.setattr(Path, "read_text", lambda *_a, **_k: "MemTotal: 9 kB\nMemAvailable: 7 kB\n")
    assert free_bytes() == 7 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_memory_of_a_process_is_what_it_has_to_itself():
    gc.collect()  # or what other tests have left would be let go of in between
    before = module._own_bytes(os.getpid())
    block = bytearray(b"\1") * (256 << 20)
    grown = module._own_bytes(os.getpid()) - before
    assert 192 << 20 <= grown <= 320 << 20 and len(block) == 256 << 20
    assert module._own_bytes(2**22 + 1) == 0  # no such process


@pytest.mark.parametrize("line", [b"no JSON\n", b"[1, 2]\n", b"[" * 100_000, b"\xff\n"])
def test_an_answer_that_is_none_is_said(line: bytes):
    with pytest.raises(LimitError, match="no answer that can be understood"):
        module._Child._parsed(None, line)  # type: ignore[arg-type]
    assert module._Child._parsed(None, b'{"result": 3}') == {"result": 3}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def child():
    """A process with nothing to do, whose answers are made up here."""
    made = module._Child("/tmp", Limits(7.0, 3 * GB))
    yield made
    made.end()


@pytest.mark.parametrize(
    ("told", "kind", "said"),
    [
        (
            {"kinds": ["DataError", "EngramError"], "text": "No rows.", "line": "No"},
            DataError,
            r"^No rows\.$",
        ),
        ({"kinds": ["UnknownNameError", "EngramError"], "text": "x?"}, UnknownNameError, "x?"),
        # A kind that only calls itself one of ours is passed over.
        ({"kinds": ["suggest", "EngramError"], "text": "x", "line": "y"}, EngramError, r"^x$"),
        ({"kinds": ["MemoryError", "Exception"], "line": ""}, LimitError, r"more memory than 3\.0 GB"),
        ({"kinds": ["RuntimeError"], "line": "not enough memory: 9 GB"}, LimitError, "more memory"),
        ({"kinds": ["KeyError"], "line": "'a'"}, EngramError, r"could not be used \(KeyError: 'a'\)"),
        ({"kinds": ["KeyError"]}, EngramError, r"could not be used \(KeyError\)"),
        ({"line": "of no kind"}, EngramError, r"could not be used \(an error\)"),
        ("no mapping", EngramError, r"could not be used \(an error\)"),
    ],
)
def test_an_error_of_the_process_becomes_one_of_ours(child, told, kind, said: str):
    found = child._error(told, 0)
    assert type(found) is kind
    with pytest.raises(kind, match=said):
        raise found


def test_what_is_asked_for_elsewhere_ends_it():
    stop = threading.Event()
    stop.set()
    with pytest.raises(EngramError, match="something else was asked for"):
        run_limited("limited_functions:hangs", {}, limits=Limits(60, GB), stop=stop)


def test_without_room_or_processes_it_is_a_sentence(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.subprocess, "Popen", refuse)
    with pytest.raises(EngramError, match=r"No process could be started .*No space left"):
        run_limited("json:dumps", {}, limits=Limits(1, GB))
    monkeypatch.setattr(module, "Scratch", refuse)
    with pytest.raises(EngramError, match=r"no room for a process .*No space left"):
        run_limited("json:dumps", {}, limits=Limits(1, GB))


def test_what_a_function_reports_and_returns_comes_back():
    told: list[str] = []
    found = run_limited(
        "limited_functions:answers", {"value": [1, None, "ä"]}, limits=Limits(60, GB), doing=told.append
    )
    assert found == [1, None, "ä"] and told == ["at work"]


@pytest.mark.parametrize(
    ("name", "given", "limits", "kind", "said"),
    [
        ("fails", {"how": "panic"}, Limits(60, GB), EngramError, "PanicException: index out of bounds"),
        ("hangs", {}, Limits(1.6, GB), LimitError, r"took longer than 2 s.*ENGRAM_CHECK_SECONDS"),
        ("fills", {"step": 1 << 24}, Limits(60, 1 << 26), LimitError, r"more memory than 0\.1 GB"),
        ("dies", {"how": "exit"}, Limits(60, GB), LimitError, r"came to an end \(exit status 3\) before"),
    ],
)
def test_whatever_a_function_does_ends_in_a_sentence(name, given, limits, kind: type, said: str):
    with pytest.raises(kind, match=said):
        run_limited(f"limited_functions:{name}", given, limits=limits)


def test_a_process_that_has_ended_before_it_was_asked_says_how():
    made = module._Child("/tmp", Limits(60, GB))
    try:
        made._process.kill()
        made._process.wait()
        made.send("limited_functions:answers", {"value": 1})
        with pytest.raises(LimitError, match="came to an end .SIGKILL."):
            made.answer(lambda _: None, None)
    finally:
        made.end()


def test_what_it_said_last_tells_that_memory_ran_out(child):
    child._last_words.append(b"terminate called after throwing an instance of 'std::bad_alloc'")
    assert "more memory" in str(child._ended(0))
