"""Tried: ending `engram app` in every way, at every moment.

Must be: whatever ends the command ends the server, and its port is free; Ctrl+C in the first seconds shows no
traceback; a second one always ends, even while a run computes or a thread holds everything up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from raw import ask, page, rerun
from servers import free_port

# As the script of the package does; that Python itself has started can be seen.
ENTRY = """
import pathlib, sys
pathlib.Path(sys.argv.pop(1)).touch()
from app.entry import main
main()
"""


@contextmanager
def started(tmp_path: Path, *, wait: bool = True) -> Iterator[tuple[subprocess.Popen, int, Path]]:
    """Start the command as its script does."""
    port, log = free_port(), tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, tmp_path / "begun", "app", "--port", str(port), "--no-browser"],
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(600):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.01)
        for _ in range(600 if wait else 0):
            assert process.poll() is None, log.read_text()
            if _is_taken(port):
                break
            time.sleep(0.1)
        yield process, port, log
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(10)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_ends_the_command_ends_the_server(tmp_path: Path, number: signal.Signals):
    with started(tmp_path) as (process, port, log):
        assert ask(port, "/_stcore/health").status == 200
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        began = time.monotonic()
        os.kill(process.pid, number)
        status = process.wait(15)
        assert time.monotonic() - began < 10
        assert status in (-number, 128 + number)
        assert _can_listen(port)
        assert not any(psutil.pid_exists(pid) and _lives(pid) for pid in family)
        assert "Traceback" not in log.read_text()


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("after", [0.1, 0.6, 1.5, 2.5])
def test_ctrl_c_in_the_first_seconds_shows_no_traceback(tmp_path: Path, after: float):
    with started(tmp_path, wait=False) as (process, port, log):
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(15)
        assert "Traceback" not in log.read_text(), log.read_text()
        assert "KeyboardInterrupt" not in log.read_text()
        assert _can_listen(port)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path):
    async def busy(port: int, process: subprocess.Popen) -> float:
        connection = await page(port)
        await connection.send(rerun("page=criteria&model=fashion-cnn").SerializeToString())
        await asyncio.sleep(3)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        await asyncio.sleep(0.2)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
        await asyncio.to_thread(process.wait, 10)
        connection.transport.abort()
        return time.monotonic() - began

    with started(tmp_path) as (process, port, log):
        assert asyncio.run(busy(port, process)) < 3
        assert _can_listen(port) and "Traceback" not in log.read_text()


def test_the_first_one_does_not_wait_for_ever(tmp_path: Path):
    """A thread that never ends keeps a process of Python from ending."""
    script = tmp_path / "stuck.py"
    script.write_text(
        "import threading, time\n"
        "from app import signals\n"
        "signals._PATIENCE = 1.0\n"
        "signals.in_order(lambda: None)\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
