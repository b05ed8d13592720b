"""Locks between processes: they end with their process, threads take turns, and nobody waits for good."""

import threading
import time
from pathlib import Path

from processes import kill, names, running

from engram_core.storing.locks import locked

LOCKS = """
import sys, time
from pathlib import Path
from engram_core.storing.locks import locked
with locked(Path(sys.argv[1])) as held:
    assert held
    print("in the middle", flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    holder = running(LOCKS, tmp_path / "lock")
    waits: list[float] = []

    def waiting(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            kill(holder)

    with locked(tmp_path / "lock", waiting=waiting) as held:
        assert held and len(waits) >= 2
    assert not names(tmp_path)


def test_a_holder_that_hangs_does_not_hold_up_others_for_good(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as mine, locked(tmp_path / "lock", patience=0.3) as other:
        assert mine and not other
    with locked(tmp_path / "no" / "folder") as held:
        assert not held


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(3):
            with locked(tmp_path / "lock", waiting=lambda _: None):
                inside += 1
                most = max(most, inside)
                time.sleep(0.01)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1 and not names(tmp_path)
