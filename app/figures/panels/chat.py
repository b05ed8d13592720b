"""What both models answer in a conversation, as HTML."""

from __future__ import annotations

from html import escape

__all__ = ["answer_html", "said_html"]


def said_html(text: str) -> str:
    """Return what the user said."""
    return f'<div class="ee-chat">{escape(text)}</div>'


def answer_html(text: str, kind: str, *, done: bool, last: bool) -> str:
    """Return an answer.

    Args:
        text: as far as it has come.
        kind: "base" or "edited".
        done: whether it has ended.
        last: whether it is the newest.
    """
    shown = escape(text.strip()) or ("<i>nothing</i>" if done else "")
    cursor = "" if done else '<span class="ee-cursor" aria-hidden="true"></span>'
    named = f' data-answer="{escape(kind)}"' if last else ""
    return f'<div class="ee-chat"><span{named}>{shown}</span>{cursor}</div>'
