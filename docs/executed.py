"""Run the Python of a page and write what it prints under it: `python -m docs.executed docs/exercises.md`.

A block of Python that is followed by a block of text is run, in the order of the page and in one namespace;
what it prints becomes the text. The tests run the same blocks and compare.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Block", "blocks", "executed", "outputs"]

Block = tuple[str, str]
"""Code, and the text under it."""

_PAIR = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<text>.*?)```", re.DOTALL)


def blocks(page: str) -> list[Block]:
    """Return every block of code with the text under it."""
    return [(found["code"], found["text"]) for found in _PAIR.finditer(page)]


def outputs(page: str) -> Iterator[str]:
    """Run the blocks one after the other.

    Args:
        page: the text of the page.

    Yields:
        What each of them printed.
    """
    names: dict[str, Any] = {"__name__": "executed"}
    for number, (code, _) in enumerate(blocks(page), 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"block {number}", "exec"), names)
        yield printed.getvalue()


def executed(page: str) -> str:
    """Return a page with what its blocks print now."""
    now = outputs(page)
    return _PAIR.sub(lambda found: f"```python\n{found['code']}```\n\n```text\n{next(now)}```", page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(executed(Path(name).read_text(encoding="utf-8")), encoding="utf-8")
