"""Where the cache is and how large it may be: environment variables, the user"s folders, and the defaults."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

from ..errors import DataError

__all__ = ["DEFAULT_LIMIT", "cache_folder", "cache_limit", "say_once"]

DEFAULT_LIMIT = 8 << 30  # bytes


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


_LOG = logging.getLogger(__name__)


_said: set[str] = set()


def say_once(text: str) -> None:
    """Log a warning that this process has not logged yet."""
    if text not in _said:
        _said.add(text)
        _LOG.warning(text)


def cache_folder() -> Path | None:
    """Return where things are kept, or None if there is no such place; it need not exist yet.

    ``$ENGRAM_CACHE`` (``off``: nowhere), else a folder in the user's cache folder: ``$XDG_CACHE_HOME``,
    ``~/.cache``, on Windows ``%LOCALAPPDATA%``.
    """
    chosen = os.environ.get("ENGRAM_CACHE", "")
    if chosen.casefold() == "off":
        return None
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        general = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
        if os.path.isabs(general):  # the XDG specification: one that is not is ignored
            return Path(general) / "engram-explorer"
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the list of users
        say_once("There is no home folder, so nothing is kept for the next start. Set ENGRAM_CACHE=FOLDER.")
        return None
    if not home.is_dir():
        # A home that is not there is no accident on servers; it is not ours to make one.
        say_once(f"The home folder {home} does not exist, so nothing is kept for the next start. "
                  "Set ENGRAM_CACHE=FOLDER.")  # fmt: skip
        return None
    return home / ".cache" / "engram-explorer"


def cache_limit() -> int:
    """Return how many bytes may be kept in all: ``$ENGRAM_CACHE_LIMIT`` (500MB, 2.5 GB), default 8 GB.

    Raises:
        DataError: if the variable is no size.
    """
    text = os.environ.get("ENGRAM_CACHE_LIMIT", "").strip()
    if not text:
        return DEFAULT_LIMIT
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text, re.IGNORECASE)
    if found is None:
        raise DataError(f"ENGRAM_CACHE_LIMIT must be a size such as 500MB or 2GB; found {text!r}.")
    return int(float(found[1]) * _UNITS[found[2].upper()])
