"""Commands whose options come in groups: a dataclass to a group, and each field is one option as typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

__all__ = ["grouped"]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the fields of its groups as parameters of their own, as typer reads them.

    Args:
        command: takes options, and groups of them: dataclasses with one option to a field.

    Raises:
        TypeError: if two groups have an option of one name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: dict[str, inspect.Parameter] = {}

    def add(name: str, annotation: Any, default: Any) -> None:
        if name in parameters:
            raise TypeError(f"{command.__name__} has two options called {name}.")
        # By keyword: a required one may then follow one with a default, as arguments and options do.
        parameters[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )

    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            types = get_type_hints(groups[name], include_extras=True)
            for field in fields(groups[name]):
                add(field.name, types[field.name], _default(field))
        else:
            add(name, hints[name], parameter.default)

    @wraps(command)
    def flat(**typed: Any) -> None:
        made = {
            name: kind(**{field.name: typed.pop(field.name) for field in fields(kind) if field.name in typed})
            for name, kind in groups.items()
        }
        command(**made, **typed)

    flat.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    flat.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return flat


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default
