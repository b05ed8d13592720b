"""Try a tokenizer from elsewhere on texts that are hard for a search pattern."""

from __future__ import annotations

import time
from typing import Any

from ..errors import DataError
from .tokenizing import tokenized

__all__ = ["try_tokenizer"]

_HARD = ("a", "A", "1", " ", "\n", "\t ", "'", "-", ".", "ab", "a ", "a1", "é", "字", "\u0301", "\u200d")
_LONG = 4000  # characters, as many as a page takes
_SLOW = 5.0  # seconds


def try_tokenizer(tokenizer: Any) -> None:
    """Give a tokenizer texts that are hard for a search pattern, as long as a page takes.

    A pattern such as ``(a|a)*b`` is quick until somebody types the one text it cannot decide.

    Args:
        tokenizer: a Hugging Face tokenizer; one written in Python has patterns of its own and is not tried.

    Raises:
        DataError: it fails on one of them, or takes as long as nobody waits for.
    """
    if not getattr(tokenizer, "is_fast", False):
        return  # written in Python, with patterns of its own
    for unit in _HARD:
        text = (unit * _LONG)[: _LONG - 1]
        for tried in (text, text + "!"):
            begun = time.perf_counter()
            tokenized(tokenizer, tried, special=True)
            seconds = time.perf_counter() - begun
            if seconds > _SLOW:
                raise DataError(
                    f"This model's tokenizer takes {seconds:.0f} s for {len(tried):,} characters "
                    f"({tried[:10]!r} …). Its files are damaged, or made to take long."
                )
