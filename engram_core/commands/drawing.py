"""Pictures for ``--html``: the app's own figures, where the app is installed.

The core draws nothing. A command that is asked for a picture borrows the pure figure functions of the app at
run time, so that one picture of a thing exists and not two.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ..errors import DependencyError

__all__ = ["figures"]


def figures(name: str) -> ModuleType:
    """Return a module of the app's figures.

    Raises:
        DependencyError: if the app or what it draws with is not installed.
    """
    try:
        return import_module(f"app.figures.charts.{name}")
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"--html needs {error.name}: install it with  pip install 'engram-explorer[app]'. "
            "--csv and --json need nothing."
        ) from None
