"""A contact sheet: small pictures, each with what is said about it below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["contact_sheet"]


def contact_sheet(pictures: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a contact sheet as HTML.

    Args:
        pictures: a data URI and lines of text each; the first line is what is read aloud.

    Returns:
        HTML; the texts are escaped.
    """
    cards = "".join(
        '<figure style="margin:0;text-align:center;font-size:.75rem">'
        f'<img src="{uri}" alt="{escape(lines[0])}" width="56" height="56" style="image-rendering:pixelated">'
        f"<figcaption>{'<br>'.join(escape(line) for line in lines)}</figcaption></figure>"
        for uri, lines in pictures
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:.6rem">{cards}</div>'
