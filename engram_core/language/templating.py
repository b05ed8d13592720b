"""Chat templates are programs from elsewhere: each runs in a process of its own, with little time and memory.

The process knows Jinja and nothing of the model. It gives what transformers gives (the same sandbox, the same
filters and tags); a template that loops or piles up text ends it, and a sentence says so.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..libraries import first_line

__all__ = ["render"]

MOST_TEMPLATE = 200_000
"""Characters; the longest in use have some ten thousand."""
SECONDS = 5.0
"""A prompt may take."""
_KEPT = 2  # processes that wait for the next prompt; they hold 20 MB each
_WORKER = Path(__file__).with_name("template_worker.py")

_LOCK = threading.Lock()
_workers: dict[str, subprocess.Popen[str]] = {}


def render(template: str, variables: dict[str, Any]) -> str:
    """Return a chat template filled in.

    Args:
        template: in Jinja.
        variables: what it may name; JSON values.

    Raises:
        DataError: too long a template, too much time or memory or text, or an error in it.
    """
    if len(template) > MOST_TEMPLATE:
        raise DataError(
            f"This model's chat template has {len(template):,} characters; at most {MOST_TEMPLATE:,} are "
            "read."
        )
    with _LOCK:
        worker = _workers.pop(template, None)
    # Outside the lock: whoever waits for a template that loops keeps nobody waiting.
    worker = worker or _started(template)
    answer = _asked(worker, variables)
    if answer is None:
        _end(worker)
    else:
        with _LOCK:
            spare = [_workers.pop(template, None)]
            _workers[template] = worker
            spare += [_workers.pop(next(iter(_workers))) for _ in range(len(_workers) - _KEPT)]
        for other in filter(None, spare):
            _end(other)
    if answer is None:
        raise DataError(
            f"This model's chat template takes more than {SECONDS:g} s, or more memory than a prompt is "
            "worth. Leave --template out (template=False)."
        )
    if "error" in answer:
        said = first_line(ValueError(answer["error"]), 160)
        raise DataError(f"This model's chat template fails ({said}). Leave --template out (template=False).")
    return str(answer["text"])


def _started(template: str) -> subprocess.Popen[str]:
    # Isolated: no folder of this process's, no variable, no start-up file takes part.
    worker = subprocess.Popen(
        [sys.executable, "-I", str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
    )  # fmt: skip
    _send(worker, template)
    return worker


def _send(worker: subprocess.Popen[str], value: Any) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(json.dumps(value) + "\n")
        worker.stdin.flush()
    except OSError:
        pass  # it has ended; so does the waiting for its answer


def _asked(worker: subprocess.Popen[str], variables: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a process answers, or None after its end."""
    assert worker.stdout is not None
    # Killed and not asked to stop: it may be in the middle of one huge string.
    watch = threading.Timer(SECONDS, worker.kill)
    watch.daemon = True
    watch.start()
    try:
        _send(worker, variables)
        line = worker.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None
    except (OSError, ValueError):
        return None
    finally:
        watch.cancel()


def _end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                pass


@atexit.register
def _end_all() -> None:
    while _workers:
        _end(_workers.popitem()[1])
