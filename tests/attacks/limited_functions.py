"""What a process with limits is made to do in tests: all that a foreign file could make it do."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Report = Callable[[str], None]


def answers(*, value: Any, report: Report) -> Any:
    """Give back what it was given, and print in between."""
    report("at work")
    print("this is no answer", flush=True)
    os.write(1, b'{"result": "nor is this"}\n')
    return value


def spins(*, report: Report) -> None:
    """Loop in Python."""
    report(str(os.getpid()))
    while True:
        pass


def hangs(*, report: Report) -> None:
    """Loop where no Python code runs and the interpreter is locked."""
    report(str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")


def sleeps_with_a_child(*, report: Report) -> None:
    """Start a process that would outlive it, and write files."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    (Path(tempfile.mkdtemp()) / "left").write_bytes(b"x" * 1000)
    report(f"{child.pid} {tempfile.gettempdir()}")
    time.sleep(300)


def fills(*, step: int, report: Report) -> int:
    """Fill 8 GB, at once or in steps."""
    kept = []
    for _ in range(8_000_000_000 // step):
        kept.append(b"\1" * step)
    return len(kept)


def reserves(*, report: Report) -> int:
    """Ask for more than any machine has."""
    return len(bytearray(1 << 45))


def dies(*, how: str, report: Report) -> None:
    """End in the middle."""
    if how == "kill":
        os.kill(os.getpid(), 9)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    os._exit(3)


class PanicException(BaseException):
    """As Rust libraries raise it."""


def fails(*, how: str, report: Report) -> Any:
    """Raise an error, or answer what is no JSON."""
    if how == "ours":
        from engram_core.errors import DataError  # which takes seconds, and the others go without

        raise DataError("line 1\nline 2")
    if how == "panic":
        raise PanicException("index out of bounds:\nthe len is 3")
    if how == "long":
        raise RuntimeError("x" * 1_000_000)
    if how == "exit":
        sys.exit("gone")
    if how == "deep":
        value: list[Any] = []
        for _ in range(100_000):
            value = [value]
        return value
    return object()


def floods(*, report: Report) -> str:
    """Answer more than anybody reads."""
    return "x" * 100_000_000


def surroundings(*, report: Report) -> dict[str, Any]:
    """Say what it sees."""
    return {
        "environment": dict(os.environ),
        "group": os.getpgrp(),
        "session": os.getsid(0),
        "pid": os.getpid(),
    }


def bounds(*, report: Report) -> dict[str, Any]:
    """Say which limits the system holds it to."""
    import resource

    data = resource.getrlimit(resource.RLIMIT_DATA)
    return {
        "data": data, "hard": data[1], "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "cpu": resource.getrlimit(resource.RLIMIT_CPU)[0], "nice": os.nice(0),
    }  # fmt: skip
