"""The command line: everything a page shows, as tables or JSON."""

from __future__ import annotations

import contextlib
import os
import sys

import typer

from .commands import app as launching
from .commands import ask as asking
from .commands import cache as caching
from .commands import criteria as measuring
from .commands import erase as editing
from .commands import list as listing
from .commands import map as mapping
from .commands import printing, shared
from .commands import record as recording
from .commands import sweep as sweeping
from .errors import EngramError

__all__ = ["app", "main"]

app = typer.Typer(
    name="engram",
    help="Find, erase, keep and measure single memories in trained neural networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    listing.samples,
    listing.layers,
    recording.record,
    recording.extract,
    measuring.criteria,
    sweeping.sweep,
    editing.erase,
    asking.ask,
):
    app.command()(command)
app.command(name="map")(mapping.map_points)
app.command(name="app")(launching.open_app)
app.add_typer(caching.commands, name="cache")


def main() -> None:
    """Run the command line; errors are one sentence and exit status 2."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a full disk behind it must speak while there is somebody to listen
    except EngramError as error:
        printing.print_error(shared.err_console, str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        shared.err_console.print("Stopped.")
        sys.exit(130)
    except OSError as error:
        # What could not be written would be tried once more when Python ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = error.filename or "the output could not be written"
        printing.print_error(shared.err_console, f"{where}: {error.strerror or error}.")
        sys.exit(2)
