"""What another installed package does for a command, which finds it by an entry point when it needs it.

The core draws nothing and has no screen. A package that draws for it or opens one names a function under
``engram_core.figures`` (by the command whose ``--html`` it writes) or ``engram_core.app``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from ..errors import DependencyError

__all__ = ["provided"]

_INSTALL = "install it with  pip install 'engram-explorer[app]'."


def provided(group: str, name: str, *, purpose: str, instead: str = "") -> Callable[..., Any]:
    """Return the function that an installed package provides.

    Args:
        group: the group of its entry point.
        name: the name of its entry point.
        purpose: what it is needed for, as the beginning of a sentence.
        instead: a sentence on what works without it.

    Raises:
        DependencyError: if no package provides it, or that package lacks one it needs.
    """
    found = [point for point in entry_points(group=group) if point.name == name]
    if not found:
        raise DependencyError(
            f"{purpose} needs the explorer, which is not installed: {_INSTALL} {instead}".rstrip()
        )
    try:
        function: Callable[..., Any] = found[0].load()
    except ModuleNotFoundError as error:
        raise DependencyError(f"{purpose} needs {error.name}: {_INSTALL} {instead}".rstrip()) from None
    return function
