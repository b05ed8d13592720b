"""The process's memory after something large was made."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

__all__ = ["settle"]


def settle() -> None:
    """Set aside what is here to stay, and return to the system what is free.

    Streamlit collects garbage after every run of the page. Over half a million objects of models and
    libraries that takes .2 to .4 s, in which no other visitor's Python moves: with twenty of them it was
    88 % of the time. What is set aside is not looked through again until the next call here, which also
    frees what has become garbage since.

    The GNU C library keeps freed memory for itself: 2.7 GB after the engrams of SmolLM2 were solved.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    with suppress(AttributeError, OSError, TypeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)
