"""The command line: everything a page shows, as tables or JSON."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import torch
import typer

from .commands import cache, printing
from .commands.app import open_app
from .commands.ask import ask
from .commands.criteria import criteria
from .commands.erase import erase
from .commands.extract import extract
from .commands.finetune import finetune
from .commands.layers import layers
from .commands.map import map_points
from .commands.record import record
from .commands.samples import samples
from .commands.sweep import sweep
from .errors import EngramError

__all__ = ["app", "main"]

app = typer.Typer(
    name="engram",
    help="Find, erase, isolate and measure single concepts in trained neural networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (samples, layers, record, extract, criteria, sweep, erase, ask, finetune):
    app.command()(command)
app.command(name="map")(map_points)
app.command(name="app")(open_app)
app.add_typer(cache.commands, name="cache")


def _versions() -> str:
    try:
        own = version("engram-explorer")
    except PackageNotFoundError:  # a source tree that was never installed
        own = "not installed"
    return f"engram-explorer {own}, torch {torch.__version__}, Python {platform.python_version()}"


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(_versions())
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Say which version this is, and of torch and Python.",
            callback=_say_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors are one sentence and exit status 2."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a full disk behind it must speak while there is somebody to listen
    except EngramError as error:
        printing.print_error(printing.err_console, str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        printing.err_console.print("Stopped.")
        sys.exit(130)
    except OSError as error:
        # What could not be written would be tried once more when Python ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = error.filename or "the output could not be written"
        printing.print_error(printing.err_console, f"{where}: {error.strerror or error}.")
        sys.exit(2)
