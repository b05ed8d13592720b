"""Run a function in a process of its own, with limits of time and memory: for files that come from others."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import EngramError, LimitError
from ..libraries import first_line
from ..storing.workplaces import Scratch
from .limits import GB, Limits

__all__ = ["run_limited"]

_WORKER = Path(__file__).with_name("worker.py")


_MOST_ANSWER = 64 << 20  # bytes


_LOOK = 0.05  # seconds between two looks at its memory


_KEPT = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT",
    "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "ENGRAM_CACHE",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "USER", "USERPROFILE", "LOGNAME",
)  # fmt: skip


_NO_MEMORY = ("not enough memory", "can't allocate memory", "memory allocation of", "bad_alloc")


def run_limited(
    function: str,
    arguments: Mapping[str, Any],
    *,
    limits: Limits,
    doing: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Any:
    """Call a function in a process of its own and return what it returns.

    Args:
        function: ``"module:name"``; called with `arguments` and ``report``, which takes a text.
        arguments: by name; JSON values.
        limits: what it may take.
        doing: is told what the function reports.
        stop: ends the process when it is set.

    Returns:
        What the function returns: JSON values.

    Raises:
        EngramError: the function's own, of its kind; or any other error of it, in a line.
        LimitError: it took more time or memory than it may, or was ended by something else.
    """
    try:
        place = Scratch("limited")
    except OSError as error:
        raise EngramError(f"There is no room for a process to read it in ({first_line(error)}).") from None
    with place as folder:
        try:
            child = _Child(str(folder), limits)
        except OSError as error:
            raise EngramError(f"No process could be started to read it in ({first_line(error)}).") from None
        try:
            child.send(function, arguments)
            return child.answer(doing or (lambda _: None), stop)
        finally:
            child.end()


class _Child:
    def __init__(self, place: str, limits: Limits) -> None:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        own = {"TMPDIR": place, "TEMP": place, "TMP": place, "HF_HUB_OFFLINE": "1",
               "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
               # One block of memory for all threads: what is freed in one can be used by another.
               "MALLOC_ARENA_MAX": "2"}  # fmt: skip
        self._limits = limits
        self._begun = time.monotonic()
        self._news: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last_words: deque[bytes] = deque(maxlen=20)
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=kept | own, start_new_session=True,
        )  # fmt: skip
        self._readers = [
            threading.Thread(target=run, name="limited", daemon=True) for run in (self._read, self._hear)
        ]
        for reader in self._readers:
            reader.start()

    def send(self, function: str, arguments: Mapping[str, Any]) -> None:
        path = [str(Path(place).resolve()) for place in sys.path]
        job = {"function": function, "arguments": dict(arguments), "path": path, "parent": os.getpid(),
               "seconds": self._limits.seconds, "memory": self._limits.memory}  # fmt: skip
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # how it ended is found below

    def answer(self, doing: Callable[[str], None], stop: threading.Event | None) -> Any:
        most = 0
        while True:
            try:
                line = self._news.get(timeout=_LOOK)
            except queue.Empty:
                line = b""
            if line is None:
                raise self._ended(most)
            if line:
                said = self._parsed(line)
                if "result" in said:
                    return said["result"]
                if "error" in said:
                    raise self._error(said["error"], most)
                doing(str(said.get("doing", ""))[:200])
            if stop is not None and stop.is_set():
                raise EngramError("It was ended before it was done: something else was asked for.")
            if time.monotonic() - self._begun > self._limits.seconds:
                raise self._too_long()
            most = max(most, self._memory())
            if most > self._limits.memory:
                raise self._too_much()

    def end(self) -> None:
        """End it with all it started, whatever it is doing, and leave nothing."""
        if hasattr(os, "killpg"):
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass

    def _read(self) -> None:
        assert self._process.stdout is not None
        left = _MOST_ANSWER
        try:
            while left > 0 and (line := self._process.stdout.readline(left)):
                left -= len(line)
                self._news.put(line)
        except (OSError, ValueError):  # closed
            pass
        self._news.put(None)

    def _hear(self) -> None:
        assert self._process.stderr is not None
        try:
            while line := self._process.stderr.readline(1000):
                self._last_words.append(line)
        except (OSError, ValueError):
            pass

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise LimitError("The process that read it gave no answer that can be understood. Try again.")
        return found

    def _memory(self) -> int:
        return _own_bytes(self._process.pid)

    def _too_long(self) -> LimitError:
        return LimitError(
            f"Reading and trying it took longer than {self._limits.seconds:,.0f} s, the limit for what has "
            "its size on this machine, and was ended. Nothing of it is left. If that is how long it takes, "
            "raise the limit where this was started (ENGRAM_CHECK_SECONDS)."
        )

    def _too_much(self) -> LimitError:
        return LimitError(
            f"Reading and trying it took more memory than {self._limits.memory / GB:,.1f} GB, the limit for "
            "what has its size on this machine, and was ended. Nothing of it is left. If it needs that much, "
            "raise the limit where this was started (ENGRAM_CHECK_MEMORY, in GB)."
        )

    def _error(self, told: Any, most: int) -> EngramError:
        kinds = [str(kind) for kind in told.get("kinds", [])] if isinstance(told, dict) else []
        text, line = (str(told.get(key, "")) for key in ("text", "line")) if kinds else ("", "")
        if "MemoryError" in kinds or any(words in line for words in _NO_MEMORY):
            return self._too_much()
        if "EngramError" in kinds:
            for kind in kinds:
                known = getattr(errors, kind, None)
                if kind in errors.__all__ and isinstance(known, type):
                    found = known(text)
                    assert isinstance(found, EngramError)
                    return found
        shown = f"{kinds[0]}: {line}" if kinds and line else (kinds or ["an error"])[0]
        return EngramError(f"It could not be used ({first_line(ValueError(shown))}).")

    def _ended(self, most: int) -> LimitError:
        """Say how it came to an end without an answer."""
        self._process.kill()
        code = self._process.wait()
        self._readers[1].join(1.0)
        said = b"".join(self._last_words).decode("utf-8", "replace")
        if any(words in said for words in _NO_MEMORY):
            return self._too_much()
        try:
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        except ValueError:
            how = f"signal {-code}"
        if code == -getattr(signal, "SIGXCPU", 0):
            return self._too_long()
        return LimitError(
            f"The process that read it came to an end ({how}) before it had an answer: something ended it "
            "from outside, or a file breaks the program that reads it. Nothing of it is left. Try again "
            "once; if it ends so again, it is the file."
        )


def _own_bytes(pid: int) -> int:
    """Return the memory that a process has to itself."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform.startswith(("linux", "win")):
        return 0  # it has ended; or the clock is the only limit there is
    found = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(found.stdout or 0) * 1024 if found.stdout.strip().isdigit() else 0
