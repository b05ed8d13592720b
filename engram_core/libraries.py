"""What every room that loads foreign files needs: optional modules, a library's error in a line, one lock.

One at a time: transformers replaces functions of torch for the whole process while it loads a model. Two
models loaded in two threads at once can leave `tie_weights` switched off: a model then has a random head
(transformers 5.23; found when two pages of the explorer opened two models).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import DependencyError

__all__ = ["TRANSFORMERS", "first_line", "foreign_errors", "map_weights", "maps_weights", "need", "quiet"]

TRANSFORMERS = threading.RLock()
"""Held while transformers makes or loads a model."""

_mapped = True


def map_weights(wanted: bool) -> None:
    """Say whether this process may map files of weights into its memory, or must read them.

    Mapping spares memory. But a mapped file that somebody cuts short ends the process at the next look
    (SIGBUS), and one that is written to changes the model: a server reads.

    Args:
        wanted: False has files read.
    """
    global _mapped
    _mapped = wanted


def maps_weights() -> bool:
    """Return whether files of weights may be mapped; see `map_weights`."""
    return _mapped


_INSTALL = "pip install 'engram-explorer[language]'"


def need(module: str, what: str, install: str = _INSTALL) -> Any:
    """Import an optional module, or say what it is needed for and how to install it.

    Not by an import statement: transformers puts another module in its own place while it is imported, and a
    statement that runs in a second thread meanwhile gets the first one, which has no classes (CPython 3.11).

    Args:
        module: its name.
        what: what needs it, to begin the sentence with.
        install: the command that installs it.

    Returns:
        The module.

    Raises:
        DependencyError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise DependencyError(f"{what} needs {error.name or module}: install it with  {install}.") from None


def first_line(error: BaseException, most: int = 200) -> str:
    """Return what another library's error says, as part of a sentence of ours.

    Args:
        error: what was raised.
        most: characters.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if text.endswith(":") and len(lines) > 1:
        text = f"{text} {lines[1]}"  # the first only announces what is said
    text = text.rstrip(".:")
    return text if len(text) <= most else text[: most - 1] + "…"


def foreign_errors(error: BaseException) -> bool:
    """Return whether an error is what a library may raise over bad input, a panic of Rust code included.

    A panic is no `Exception`, so that nobody catches it by chance; a folder from elsewhere can cause one.

    Args:
        error: what was raised.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from printing: errors of ours say what it has to say. Hold the lock.

    Args:
        transformers: the library.
    """
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()
