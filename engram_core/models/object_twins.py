"""Twins of any other object: rebuilt as its class says how to copy it, or from its attributes."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import EngramError
from .twin_kinds import is_made_of_attributes, slot_names

if TYPE_CHECKING:
    from .twins import Twins

__all__ = ["object_twin"]


def object_twin(twins: Twins, value: Any) -> Any:
    """Return the twin of an object, or the object itself if it says that it cannot be copied.

    Args:
        twins: the copy in the making.
        value: the base's.
    """
    kind = type(value)
    if hasattr(kind, "__del__"):  # a copy would close, when it goes, what is the base's
        return value
    try:
        if hasattr(kind, "__deepcopy__"):
            return kind.__deepcopy__(value, twins.memo)
        reduce = copyreg.dispatch_table.get(kind)
        reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
        return value if isinstance(reduced, str) else _rebuild(twins, value, *reduced)
    except EngramError:
        raise
    except Exception:  # whatever a class says against being copied
        return _by_attributes(twins, value, kind)


def _rebuild(
    twins: Twins, value: Any, function: Callable[..., Any], args: tuple[Any, ...], state: Any = None,
    items: Any = None, pairs: Any = None, setter: Any = None,
) -> Any:  # fmt: skip
    """Do what `__reduce_ex__` asks for, with twins."""
    made = function(*[twins.twin(arg) for arg in args])
    twins.keep(value, made)
    if state is not None:
        state = twins.twin(state)
        if setter is not None:
            setter(made, state)
        elif hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            _set_state(made, state)
    for item in items or ():
        made.append(twins.twin(item))
    for key, item in pairs or ():
        made[twins.twin(key)] = twins.twin(item)
    return made


def _set_state(made: Any, state: Any) -> None:
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        made.__dict__.update(attributes)
    for name, held in (slots or {}).items():
        object.__setattr__(made, name, held)


def _by_attributes(twins: Twins, value: Any, kind: type) -> Any:
    """Copy an object that refuses to be copied by its attributes, if it is made of nothing else."""
    twins.memo.pop(id(value), None)
    if not is_made_of_attributes(value):
        return value
    try:
        made = twins.keep(value, object.__new__(kind))
        for name, held in list(getattr(value, "__dict__", {}).items()):
            made.__dict__[name] = twins.twin(held)
        for name in slot_names(kind):
            if hasattr(value, name):
                object.__setattr__(made, name, twins.twin(getattr(value, name)))
        return made
    except EngramError:
        raise
    except Exception:
        return value
