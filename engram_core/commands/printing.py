"""All that a command prints: names, texts and paths are data here, never markup or control codes.

A concept may be called ``[/INST]``, ``:smile:`` or hold an escape sequence. The console here knows no markup
and no emoji names, and shows control characters instead of sending them to the terminal.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["PlainConsole", "err_console", "out_console", "plain", "print_error", "print_json", "print_table"]

_KEPT = "\n\t"
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Control characters, halves of characters, separators of lines and paragraphs."""
_TURNS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}  # directions of writing


def plain(text: str) -> str:
    r"""Return a text in which nothing acts on a terminal: control characters are written as ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or not _acts(c) else ascii(c)[1:-1] for c in text)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN or ord(character) in _TURNS


class PlainConsole(Console):
    """A console that prints what it is given, letter by letter."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
        """Return a text as it stands: whoever prints a string, in a table or alone, comes through here."""
        return super().render_str(plain(text), **options | {"markup": False, "emoji": False})


out_console = PlainConsole()
err_console = PlainConsole(stderr=True)


def print_json(value: Any) -> None:
    """Print one JSON object, and nothing else, on standard output."""
    # A stream of another encoding gets escapes, which are the same JSON; so do halves of characters.
    said = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    try:
        said.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        said = json.dumps(value, indent=2, allow_nan=False)
    sys.stdout.write(said + "\n")


def print_table(
    console: Console,
    title: str,
    columns: list[str],
    rows: list[list[Any]],
    *,
    caption: str = "",
    digits: int = 3,
) -> None:
    """Print a table; the first column is its row labels.

    Nothing is cut or broken: into a file goes one table, as wide as it is, and a terminal that is too narrow
    gets the columns in several tables, each with the row labels.
    """
    names = [plain(str(column)) for column in columns]
    cells = [
        [plain(f"{v:.{digits}f}" if isinstance(v, float) else str(v)).replace("\n", "\\n") for v in row]
        for row in rows
    ]
    widths = [
        max(cell_len(text) for text in (name, *(row[i] for row in cells))) for i, name in enumerate(names)
    ]
    blocks = _blocks(widths, console.width) if console.is_terminal else [list(range(len(names)))]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        table = Table(
            title=Text(plain(title if number == 0 else f"{title} (continued)")),
            caption=Text(plain(caption)) if caption and last else None,
            title_justify="left",
            caption_justify="left",
        )
        for i in block:
            table.add_column(Text(names[i]), justify="left" if i == 0 else "right", overflow="fold")
        for row in cells:
            table.add_row(*(Text(row[i]) for i in block))
        if not console.is_terminal:
            wide = sum(widths[i] + _EDGES for i in block) + 1
            table.width = wide if wide > console.width else None
        console.print(table, crop=False)


_EDGES = 3  # characters that a column of a table needs beside its cells


def _blocks(widths: Sequence[int], most: int) -> list[list[int]]:
    """Divide columns into runs that fit a width, each with the first column before it."""
    blocks = [[0]]
    room = most - 1 - widths[0] - _EDGES
    left = room
    for i, width in enumerate(widths[1:], start=1):
        if width + _EDGES > left and len(blocks[-1]) > 1:
            blocks.append([0])
            left = room
        blocks[-1].append(i)
        left -= width + _EDGES
    return blocks


def print_error(console: Console, message: str) -> None:
    """Print one error as ``Error: …``."""
    console.print(Text.assemble(("Error:", "bold red"), " ", plain(message)), highlight=False, soft_wrap=True)
