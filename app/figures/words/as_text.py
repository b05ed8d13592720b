"""Names are text: concepts, prompts, files and errors are shown letter by letter, whatever signs they hold.

Streamlit reads Markdown, with formulas, emoji and colours, in most of what it is given, and Plotly reads some
HTML. A name from outside goes through `plain` (or, in a figure, `untagged`) before either sees it.
`tests/support/markdown_rule.py` finds what goes round this.
"""

from __future__ import annotations

import re
import string

__all__ = ["Markdown", "filled", "plain", "untagged"]

Markdown = str
"""Type of a text in which our own Markdown counts: a constant of the source, filled with `plain` texts."""

_JOINER = "\u2060"  # no width, and no letter: what it stands in is no pattern any more
_PUNCTUATION = re.compile(rf"[{re.escape(string.punctuation)}]")
# What Streamlit and GitHub's Markdown look for once the signs are unescaped: links, addresses, arrows, icons.
_FOUND_LATER = re.compile(
    r"(?<=:)(?=//)|(?<=:)(?=[a-z_-]+:)|(?<=www)(?=\.)|(?<=@)(?=\w)|(?<=[-<>=~!])(?=[-<>=])", re.IGNORECASE
)
# Characters that have no shape and can turn the order of what follows, or end a line.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def plain(text: object) -> Markdown:
    """Return Markdown that shows `text` as it is, on one line."""
    shown = _UNSEEN.sub("\ufffd", " ".join(re.split(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+", str(text))))
    inner = shown.lstrip(" ")
    # Four spaces at the start would make it code.
    shown = "\u00a0" * (len(shown) - len(inner)) + inner
    return _PUNCTUATION.sub(r"\\\g<0>", _FOUND_LATER.sub(_JOINER, shown))


def filled(template: Markdown, *values: object, **named: object) -> Markdown:
    """Return `template.format(…)` with every value shown as it is; the template's own Markdown counts."""
    return template.format(*map(plain, values), **{key: plain(value) for key, value in named.items()})


def untagged(text: str) -> str:
    """Return a text in which Plotly reads no HTML."""
    shown = _UNSEEN.sub("\ufffd", text)
    return shown.replace("&", "&amp;").replace("<", "&lt;")
