"""The process in which foreign files are read (see `limited`): it computes one answer and ends.

Run by its path, in isolation: nothing is imported but what the function it is told needs. It dies with the
process that started it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from typing import Any

_SLACK = 2 << 30
"""Bytes beyond the limit, which the parent keeps by what is used: threads reserve what they never use."""


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it had ended before
            os._exit(1)

    def watch() -> None:
        # The pipe ends with the parent, on every system.
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def _limit(seconds: float, memory: int) -> None:
    try:
        import resource
    except ImportError:  # a system without it has the parent's clock alone
        return
    # The parent's clock ends it long before; this is for the day that the parent cannot.
    cpu = int(seconds * (os.cpu_count() or 1)) + 60
    limits = [(resource.RLIMIT_CPU, cpu), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, memory + _SLACK)]
    for which, most in limits:
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(which, (most, most))
        except (OSError, ValueError):  # a system that knows the name and not the limit
            pass
    try:
        os.nice(10)  # whoever waits for an answer goes first
    except OSError:
        pass


def main() -> None:
    """Read a job from standard input; write what is done and the answer as lines of JSON."""
    line = b""
    while not line.endswith(b"\n"):  # unbuffered: the rest is the watch's
        part = os.read(0, 1 << 16)
        if not part:
            os._exit(1)
        line += part
    job = json.loads(line)
    _die_with_parent(job["parent"])
    _limit(job["seconds"], job["memory"])
    # What a library prints must not stand among the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    sys.path[:] = job["path"]
    try:
        module, _, name = job["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        answer = {"result": function(**job["arguments"], report=lambda text: say(doing=str(text)))}
        json.dumps(answer)
    except BaseException as error:  # of any kind: a panic is no Exception
        said = str(error)[:20_000] if isinstance(error, ValueError) else ""
        kinds = [kind.__name__ for kind in type(error).__mro__]
        lines = [text.strip() for text in str(error)[:2000].splitlines() if text.strip()]
        answer = {"error": {"kinds": kinds, "text": said, "line": (lines or [""])[0][:300]}}
    say(**answer)
    out.close()
    os._exit(0)  # threads of libraries are not waited for


if __name__ == "__main__":
    main()
