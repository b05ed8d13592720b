"""The `engram` command. What it does takes seconds to load, and until then Ctrl+C ends it without a word."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from engram_core.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()
