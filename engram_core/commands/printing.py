"""All that a command prints: names, texts and paths are data here, never markup or control codes.

A concept may be called ``[/INST]``, ``:smile:`` or hold an escape sequence. The console here knows no markup
and no emoji names, and shows control characters instead of sending them to the terminal.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

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
    """Print a table; the first column is its row labels."""
    table = Table(
        title=Text(plain(title)),
        caption=Text(plain(caption)) if caption else None,
        title_justify="left",
        caption_justify="left",
    )
    for number, column in enumerate(columns):
        table.add_column(
            Text(plain(str(column))), justify="left" if number == 0 else "right", overflow="fold"
        )
    for row in rows:
        cells = (f"{v:.{digits}f}" if isinstance(v, float) else str(v) for v in row)
        table.add_row(*(Text(plain(cell).replace("\n", "\\n")) for cell in cells))
    console.print(table)


def print_error(console: Console, message: str) -> None:
    """Print one error as ``Error: …``."""
    console.print(Text.assemble(("Error:", "bold red"), " ", plain(message)), highlight=False, soft_wrap=True)
