"""How far a command is, on the error stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .printing import err_console, plain

__all__ = ["bar_of_progress"]


@contextmanager
def bar_of_progress() -> Iterator[Callable[[int, int | None, str], None]]:
    """Yield a progress callback that draws a bar on the error stream once a second has passed."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    started = time.monotonic()
    # Its own streams: a bar that takes over those of the process gives back, at its end, what they were at
    # its start, whoever has changed them in between.
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        console=err_console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("", total=None)
    shown = ended = False

    def report(done: int, total: int | None, text: str) -> None:
        nonlocal shown
        bar.update(task, completed=done, total=total, description=plain(text))
        if not shown and not ended and time.monotonic() - started > 1:
            shown = True
            bar.start()

    try:
        yield report
    finally:
        ended = True
        if shown:
            bar.stop()
