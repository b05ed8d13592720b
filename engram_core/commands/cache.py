"""`engram cache`: what is kept for the next start."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..storing.cache import Entry, age, clear, entries
from ..storing.cache_settings import cache_folder, cache_limit
from .options import AsJson
from .printing import out_console, print_json
from .tables import print_table

__all__ = ["commands"]

commands = typer.Typer(
    help="List what is kept for the next start (converted models, solved engrams), or clear it.",
    invoke_without_command=True,
)


@commands.callback()
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """List what is kept for the next start (converted models, solved engrams), or clear it.

    It lies in the user's cache folder, or where ENGRAM_CACHE says (off: nowhere), and has at most 8 GB, or
    what ENGRAM_CACHE_LIMIT says (500MB, 20GB). What was used longest ago goes first.
    """
    if context.invoked_subcommand is not None:
        return
    folder, limit, kept = cache_folder(), cache_limit(), entries()
    if as_json:
        print_json(_told(kept) | {"folder": None if folder is None else str(folder), "limit": limit})
        return
    if folder is None:
        out_console.print("Nothing is kept: there is no place for it. Set ENGRAM_CACHE=FOLDER.")
        return
    where = f"{folder}, at most {_size(limit)}"
    if not kept:
        out_console.print(f"Nothing is kept yet in {where}.", soft_wrap=True)
        return
    print_table(
        "Kept for the next start",
        ["name", "what", "of", "size", "made", "last used"],
        [[e.name, _what(e), e.of, _size(e.size), age(e.made), age(e.used)] for e in kept],
    )  # fmt: skip
    total = _size(sum(entry.size for entry in kept))
    out_console.print(f"{total} in {where}.", soft_wrap=True)


@commands.command(name="clear")
def remove(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names from the list, or of models. Default: everything.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove what is kept; it is made again when it is needed."""
    removed = clear(names or None)
    if as_json:
        print_json(_told(removed))
        return
    for entry in removed:
        out_console.print(f"removed {entry.name} ({_size(entry.size)})", soft_wrap=True)
    if not removed:
        out_console.print("Nothing was kept.")


def _told(kept: list[Entry]) -> dict[str, Any]:
    return {
        "entries": [
            {
                "name": e.name, "kind": e.kind, "of": e.of, "about": e.about, "bytes": e.size,
                "made": e.made, "used": e.used,
            }
            for e in kept
        ],
        "bytes": sum(e.size for e in kept),
    }  # fmt: skip


def _what(entry: Entry) -> str:
    return f"{entry.kind}: {entry.about}" if entry.about else entry.kind


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MB" if count >= 1 << 20 else f"{count / 2**10:,.0f} kB"
