"""Tried: endless loops, gigabytes, crashes, floods and orphans in the process that reads foreign files.

Before, foreign files were read in the server itself. Must be: every one ends in a sentence that says which
limit was exceeded, soon after the limit; nothing is left of it, process or file; and it sees no secrets.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from engram_core.errors import DataError, EngramError, LimitError
from engram_core.sandboxing.limited_process import run_limited
from engram_core.sandboxing.limits import GB, Limits

HERE = Path(__file__).parent
AMPLE = Limits(60, GB)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there the clock is the only limit")


def run(name: str, *, limits: Limits = AMPLE, **arguments: object) -> object:
    told: list[str] = arguments.pop("told", [])  # type: ignore[assignment]
    stop = arguments.pop("stop", None)
    return run_limited(f"limited_functions:{name}", arguments, limits=limits, doing=told.append, stop=stop)  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text() if sys.platform == "linux" else ""
            os.kill(pid, 0)
        except (OSError, ValueError):
            return True
        if state.rpartition(")")[2].split()[:1] == ["Z"]:
            return True  # waits for nobody but the first process to ask for it
        time.sleep(0.05)
    return False


def _most(of: int) -> int:
    """Return the most memory that a process, or those it started, have had."""
    return resource.getrusage(of).ru_maxrss


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path, monkeypatch):
    """Look for what is left after every test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert not list(tmp_path.iterdir())


def test_an_answer_comes_back_whatever_a_library_prints():
    told: list[str] = []
    value = {"a": [1, 2.5, None, "ä\ud800\u2028"], "b": {}}
    assert run("answers", value=value, told=told) == value
    assert told == ["at work"]


@pytest.mark.parametrize("name", ["spins", "hangs"])
def test_what_has_no_end_is_ended(name):
    told: list[str] = []
    begun = time.monotonic()
    with pytest.raises(LimitError, match=r"longer than 1 s.*ENGRAM_CHECK_SECONDS"):
        run(name, limits=Limits(1.0, GB), told=told)
    assert time.monotonic() - begun < 10
    assert not told or gone(int(told[0]))


@pytest.mark.parametrize("step", [8_000_000_000, 1_000_000], ids=["at once", "in steps"])
def test_what_fills_the_memory_is_ended(step):
    kilobytes = 1 if sys.platform == "linux" else 1024
    # Of other tests, and of this process: a child begins with what its parent had.
    before_it = max(_most(resource.RUSAGE_CHILDREN), _most(resource.RUSAGE_SELF))
    with pytest.raises(LimitError, match=r"more memory than 0\.2 GB.*ENGRAM_CHECK_MEMORY"):
        run("fills", limits=Limits(60, GB // 5), step=step)
    assert _most(resource.RUSAGE_CHILDREN) <= max(before_it, 2**21 * kilobytes)


def test_more_memory_than_there_is_is_refused():
    with pytest.raises(LimitError, match="more memory"):
        run("reserves")


@pytest.mark.parametrize(
    ("how", "told"),
    [("kill", "SIGKILL"), ("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "status 3")],
)
def test_a_process_that_comes_to_an_end_is_a_sentence(how, told):
    with pytest.raises(LimitError, match=told) as caught:
        run("dies", how=how)
    assert "\n" not in str(caught.value)


def test_one_that_is_killed_from_outside_is_a_sentence():
    with pytest.raises(LimitError, match="SIGKILL"):
        run_limited("limited_functions:spins", {}, limits=AMPLE, doing=lambda pid: os.kill(int(pid), 9))


def test_errors_of_ours_come_back_as_they_are_and_others_in_a_line():
    with pytest.raises(DataError) as ours:
        run("fails", how="ours")
    assert str(ours.value) == "line 1\nline 2"
    for how, told in [
        ("panic", "PanicException: index out of bounds"),
        ("long", "RuntimeError: xxx"),
        ("exit", "SystemExit: gone"),
        ("deep", "RecursionError"),
        ("object", "TypeError"),
    ]:
        with pytest.raises(EngramError) as caught:
            run("fails", how=how)
        said = str(caught.value)
        assert told in said and "\n" not in said and len(said) < 300


def test_a_flood_is_cut_off():
    with pytest.raises(LimitError):
        run("floods")


def test_what_it_started_and_wrote_is_gone_too():
    told: list[str] = []
    stop = threading.Event()

    def watch(text: str) -> None:
        told.append(text)
        stop.set()

    with pytest.raises(EngramError, match="something else was asked for"):
        run_limited("limited_functions:sleeps_with_a_child", {}, limits=AMPLE, doing=watch, stop=stop)
    child, _, folder = told[0].partition(" ")
    assert gone(int(child)) and not Path(folder).exists()


def test_it_dies_with_the_process_that_started_it():
    script = (
        "from engram_core.sandboxing.limited_process import run_limited\n"
        "from engram_core.sandboxing.limits import GB, Limits\n"
        "run_limited('limited_functions:hangs', {}, limits=Limits(60, GB), "
        "doing=lambda pid: print(pid, flush=True))"
    )
    path = os.pathsep.join([str(HERE), *(place for place in sys.path if place)])
    around = os.environ | {"PYTHONPATH": path, "TMPDIR": tempfile.gettempdir()}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=around
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)
    # What is left of its folder goes with the next one that is made there.
    run("answers", value=1)


def test_it_sees_no_secrets_and_has_a_session_of_its_own(monkeypatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "ENGRAM_APP_MODEL", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "secret")
    found = run("surroundings")
    assert isinstance(found, dict)
    assert "secret" not in found["environment"].values() and found["environment"]["HF_HUB_OFFLINE"] == "1"
    assert found["session"] == found["pid"] == found["group"] != os.getpgrp()
