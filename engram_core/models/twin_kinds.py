"""Which kinds of object are copied, and which are shared, when a module tree is copied."""

from __future__ import annotations

import functools
import queue
import re
import types
from typing import Any

import torch
from torch import nn

__all__ = [
    "ATOMS",
    "HOOKS",
    "QUEUES",
    "is_compiled",
    "is_made_of_attributes",
    "is_plain",
    "is_shared",
    "slot_names",
]

ATOMS = frozenset({
    bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range, re.Pattern,
    torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size, torch.ScriptObject,
    types.CodeType, types.ModuleType, property,
})  # fmt: skip
"""Kinds of object that never change and hold nothing of a model."""

QUEUES = (queue.Queue, queue.LifoQueue, queue.PriorityQueue)
"""Queues, whose content is copied and whose locks are made anew."""

HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith("_hooks") or "hooks_" in name)
"""Attributes of a module that hold its hooks."""

# Of these libraries a copy would be half of one: their objects are handles of threads, processes, devices.
_SHARED = frozenset({
    "_thread", "threading", "concurrent", "multiprocessing", "asyncio", "_asyncio", "socket", "_socket",
    "ssl", "subprocess", "logging", "selectors", "contextvars", "_contextvars", "io", "_io",
})  # fmt: skip
_COPYABLE = frozenset({"BytesIO", "StringIO"})
_COPYING = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__new__")
_HEAP_TYPE = 1 << 9  # of a class's flags: written in Python, or made as such a class is


@functools.cache
def is_plain(kind: Any) -> bool:
    """Whether copies of a class of modules are copies of their attributes.

    Args:
        kind: the class.

    Returns:
        Whether they are.
    """
    own = [getattr(kind, name, None) for name in _COPYING if not _is_default(kind, name)]
    # The classes that torch makes for parametrised layers forbid pickling, and copy as all others do.
    return all(getattr(method, "__module__", "") == "torch.nn.utils.parametrize" for method in own)


def _is_default(kind: Any, name: str) -> bool:
    return getattr(kind, name, None) is getattr(nn.Module, name, None)


@functools.cache
def slot_names(kind: Any) -> tuple[str, ...]:
    """Return the attributes that a class keeps in ``__slots__``, by the names that reach them.

    Args:
        kind: the class.
    """
    found: list[str] = []
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            if name not in ("__dict__", "__weakref__"):
                private = name.startswith("__") and not name.endswith("__")
                found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(found)


def is_compiled(module: object) -> bool:
    """Whether a module is what ``torch.compile`` returned for another.

    Args:
        module: any object.

    Returns:
        Whether it is.
    """
    # By name: importing the compiler takes seconds, and who compiled something has imported it.
    kind = type(module)
    return kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch._dynamo")


def is_shared(kind: type) -> bool:
    """Whether objects of a class are handles of threads, processes or files, which a copy would be half of.

    Args:
        kind: the class.

    Returns:
        Whether they are.
    """
    return kind.__module__.partition(".")[0] in _SHARED and kind.__name__ not in _COPYABLE


def is_made_of_attributes(value: Any) -> bool:
    """Whether an object is nothing but its attributes, so that it can be copied by them.

    Args:
        value: an object that refuses to be copied.

    Returns:
        Whether it is.
    """
    kind: Any = type(value)
    plain = kind.__flags__ & _HEAP_TYPE and kind.__new__ is object.__new__
    return bool(plain and (hasattr(value, "__dict__") or slot_names(kind)))
