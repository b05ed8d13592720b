"""Processes that are killed in the middle of writing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The package without its face, which takes seconds to import.
ALONE = f"""
import sys, types
package = sys.modules["engram_core"] = types.ModuleType("engram_core")
package.__path__ = [{str(ROOT / "engram_core")!r}]
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def running(code: str, *arguments: object) -> subprocess.Popen:
    """Start Python code that says when it is in the middle of its work, and then waits to be killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE + code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "in the middle\n"
    return process


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(60)
