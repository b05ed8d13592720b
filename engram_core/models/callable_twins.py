"""Twins of what can be called and of what refers to something: functions, methods, weak references.

A function whose closure, defaults or attributes lead to a module of the tree gets a twin that leads to the
module's twin; any other is shared.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .twin_kinds import ATOMS

if TYPE_CHECKING:
    from .twins import Twins

__all__ = [
    "LRU",
    "builtin_twin",
    "cached_twin",
    "function_twin",
    "method_twin",
    "reference_twin",
    "weak_proxy_twin",
]

LRU = type(functools.lru_cache(int))
"""What ``functools.lru_cache`` makes of a function."""

_DEPTH = 5  # how deep the search goes for a module inside what a function closes over


def method_twin(twins: Twins, value: Any) -> Any:
    """Return a method bound to the twin of its object.

    Args:
        twins: the copy in the making.
        value: the base's.
    """
    owner = twins.twin(value.__self__)
    return value if owner is value.__self__ else types.MethodType(value.__func__, owner)


def builtin_twin(twins: Twins, value: Any) -> Any:
    """Return a built-in method bound to the twin of its object.

    Args:
        twins: the copy in the making.
        value: the base's.
    """
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, (types.ModuleType, type)):
        return value
    mine = twins.twin(owner)
    return value if mine is owner else getattr(mine, value.__name__, value)


def function_twin(twins: Twins, value: Any) -> Any:
    """Return a function that reaches twins wherever the given one reaches what has one.

    Args:
        twins: the copy in the making.
        value: the base's.
    """
    held = [value.__defaults__, value.__kwdefaults__, vars(value)]
    if not any(_reaches(twins, part) for part in [*(value.__closure__ or ()), *held]):
        return value
    cells = value.__closure__
    closure = None if cells is None else tuple(_cell(twins, cell) for cell in cells)
    made = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, closure)
    twins.keep(value, made)
    for cell in cells or ():
        _fill_cell(twins, cell)
    made.__defaults__ = twins.twin(value.__defaults__)
    made.__kwdefaults__ = twins.twin(value.__kwdefaults__)
    for name in ("__qualname__", "__doc__", "__module__", "__annotations__"):
        setattr(made, name, getattr(value, name))
    vars(made).update({name: twins.twin(part) for name, part in list(vars(value).items())})
    return made


def _cell(twins: Twins, cell: Any) -> Any:
    if id(cell) not in twins.memo and _reaches(twins, cell):
        twins.keep(cell, types.CellType())
    return twins.memo.get(id(cell), cell)


def _fill_cell(twins: Twins, cell: Any) -> None:
    made = twins.memo.get(id(cell), cell)
    if made is cell:
        return
    try:
        made.cell_contents  # noqa: B018
    except ValueError:
        made.cell_contents = twins.twin(cell.cell_contents)


def _reaches(twins: Twins, value: Any, depth: int = _DEPTH) -> bool:
    """Whether a function's own state leads to a module or a tensor, whose twin it must then use."""
    if type(value) in ATOMS or depth == 0:
        return False
    if isinstance(value, (nn.Module, Tensor)):
        return True
    if isinstance(value, types.CellType):
        try:
            return _reaches(twins, value.cell_contents, depth)
        except ValueError:
            return False
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        parts = list(value)
    elif isinstance(value, types.FunctionType):
        parts = [*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__, vars(value)]
    elif isinstance(value, types.MethodType):
        parts = [value.__self__]
    elif isinstance(value, functools.partial):
        parts = [value.func, value.args, value.keywords]
    elif isinstance(value, weakref.ref):
        return id(value()) in twins.tree
    elif type(value) is LRU:
        parts = [value.__wrapped__]
    else:  # an object of the caller's: only what belongs to this tree makes it ours
        held = getattr(value, "__dict__", None)
        return isinstance(held, dict) and any(id(part) in twins.tree for part in list(held.values()))
    return any(_reaches(twins, part, depth - 1) for part in parts)


def cached_twin(twins: Twins, value: Any) -> Any:
    """Return a cached function around the twin of the one inside, with an empty cache.

    Args:
        twins: the copy in the making.
        value: the base's.
    """
    inner = twins.twin(value.__wrapped__)
    if inner is value.__wrapped__:
        return value
    return functools.lru_cache(**value.cache_parameters())(inner)


def reference_twin(twins: Twins, value: Any) -> Any:
    """Return a weak reference to the twin of a module.

    Args:
        twins: the copy in the making.
        value: the base's.
    """
    target = value()
    if isinstance(target, nn.Module) and (id(target) in twins.tree or id(target) in twins.memo):
        return weakref.ref(twins.twin(target))
    return value


def weak_proxy_twin(twins: Twins, value: Any) -> Any:
    """Return a weak proxy of the twin of a module.

    Args:
        twins: the copy in the making.
        value: the base's.
    """
    try:
        target = value.__init__.__self__
    except (ReferenceError, AttributeError):
        return value
    mine = twins.twin(target) if id(target) in twins.tree else target
    return value if mine is target else weakref.proxy(mine)
