"""Twins of whatever a module tree holds: equal to the base's, and never the base's own state.

What can be copied is copied, piece by piece; what cannot (locks, files, sockets, generators …) is shared, and
only that: what holds it is still copied. Whatever refers to a module of the tree refers to its twin.
"""

from __future__ import annotations

import copy
import copyreg
import enum
import functools
import queue
import re
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import EngramError
from .tensor_twins import TensorTwins

__all__ = ["Twins", "is_compiled"]

_MISSING: Any = object()
_ATOMS = frozenset({
    bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range, re.Pattern,
    torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size, torch.ScriptObject,
    types.CodeType, types.ModuleType, property,
})  # fmt: skip
# Of these libraries a copy would be half of one: their objects are handles of threads, processes, devices.
_SHARED = frozenset({
    "_thread", "threading", "concurrent", "multiprocessing", "asyncio", "_asyncio", "socket", "_socket",
    "ssl", "subprocess", "logging", "selectors", "contextvars", "_contextvars", "io", "_io",
})  # fmt: skip
_COPYABLE = frozenset({"BytesIO", "StringIO"})
_QUEUES = (queue.Queue, queue.LifoQueue, queue.PriorityQueue)
_COPYING = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__new__")
_LRU = type(functools.lru_cache(int))
_HEAP_TYPE = 1 << 9  # of a class's flags: written in Python, or made as such a class is
_HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith("_hooks") or "hooks_" in name)
_COMPILED = "_compiled_call_impl"
_DEPTH = 5  # how deep the search goes for a module inside what a function closes over


@functools.cache
def _is_plain(kind: Any) -> bool:
    """Whether copies of a class of modules are copies of their attributes."""
    own = [getattr(kind, name, None) for name in _COPYING if not _is_default(kind, name)]
    # The classes that torch makes for parametrised layers forbid pickling, and copy as all others do.
    return all(getattr(method, "__module__", "") == "torch.nn.utils.parametrize" for method in own)


def _is_default(kind: Any, name: str) -> bool:
    return getattr(kind, name, None) is getattr(nn.Module, name, None)


@functools.cache
def _slots(kind: Any) -> tuple[str, ...]:
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
    """Whether a module is what ``torch.compile`` returned for another."""
    # By name: importing the compiler takes seconds, and who compiled something has imported it.
    kind = type(module)
    return kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch._dynamo")


class Twins:
    """One copy of a module tree in the making.

    Args:
        model: the base.
        own: whether parameters are copied; otherwise they are shared.
    """

    def __init__(self, model: nn.Module, *, own: bool = False):
        # The form of copy.deepcopy's memo: classes that copy themselves are handed it.
        self._memo: dict[int, Any] = {}
        self._alive: list[Any] = []  # an id counts only as long as its object lives
        self._tensors = TensorTwins(model, own=own)
        self.replaced = self._tensors.replaced
        self._tree = frozenset(id(module) for module in model.modules())

    def take(self, module: nn.Module, twin: nn.Module) -> None:
        """Let `twin`, made before, be the twin of a module."""
        self._keep(module, twin)

    def twin(self, value: Any) -> Any:
        """Return the twin of any object; the object itself if it is shared."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        found = self._memo.get(id(value), _MISSING)
        if found is not _MISSING:
            return found
        maker = _MAKERS.get(kind)
        if maker is not None:
            made = maker(self, value)
        elif issubclass(kind, nn.Module):
            made = self._module(value)
        elif issubclass(kind, Tensor):
            made = self._tensor(value)
        elif issubclass(kind, (type, enum.Enum)):
            return value
        elif kind.__module__.partition(".")[0] in _SHARED and kind.__name__ not in _COPYABLE:
            made = value
        else:
            made = self._object(value)
        return self._keep(value, made)

    def _keep(self, value: Any, made: Any) -> Any:
        if id(value) not in self._memo:
            self._alive.append(value)
        self._memo[id(value)] = made
        return made

    # -- modules and tensors --------------------------------------------------------------------

    def _tensor(self, value: Tensor) -> Tensor:
        made = self._tensors.twin(value)
        if made is not value and getattr(value, "__dict__", None) and type(made) is type(value):
            self._keep(value, made)
            for name, held in list(vars(value).items()):
                setattr(made, name, self.twin(held))
        return made

    def _module(self, module: nn.Module) -> nn.Module:
        kind: Any = type(module)
        if is_compiled(module):
            return self._compiled(module)
        if _is_plain(kind):
            return self._fill(kind.__new__(kind), module)
        for held in [*module._parameters.values(), *module._buffers.values()]:
            if held is not None:
                self.twin(held)
        for child in module._modules.values():
            # Classes that copy themselves find their parts copied already, in the memo.
            if child is not None:
                self.twin(child)
        if id(module) in self._memo:
            return self._memo[id(module)]
        try:
            return copy.deepcopy(module, self._memo)
        except EngramError:
            raise
        except Exception as error:
            self._memo.pop(id(module), None)
            try:
                return self._fill(object.__new__(kind), module)
            except TypeError:
                raise EngramError(
                    f"{kind.__name__} cannot be copied, so the model cannot be run beside its base: {error}"
                ) from error

    def _compiled(self, module: Any) -> nn.Module:
        """Return the twin of what is inside: compiled code would not see what is changed on a twin."""
        made: nn.Module = self.twin(module._orig_mod)
        for name in _HOOKS:  # those that were set on what the compiler returned
            vars(made)[name].update(self.twin(vars(module)[name]))
        return self._keep(module, made)

    def _fill(self, made: Any, module: nn.Module) -> nn.Module:
        self._keep(module, made)
        state = made.__dict__
        for name, value in list(vars(module).items()):
            kind = type(value)
            if kind in _ATOMS:
                state[name] = value
            elif (
                name == _COMPILED
            ):  # it would call the base's own; torch's copies of modules leave it out, too
                continue
            elif name == "_parameters":
                state[name] = self._keep(value, kind((k, p if p is None else self._tensors.twin(p))
                                                     for k, p in list(value.items())))  # fmt: skip
            elif name == "_modules":
                state[name] = self._keep(value, kind((k, self.twin(m)) for k, m in list(value.items())))
            else:
                state[name] = self.twin(value)
        for name in _slots(cast(Any, type(module))):
            if hasattr(module, name):
                object.__setattr__(made, name, self.twin(getattr(module, name)))
        return made

    # -- containers -----------------------------------------------------------------------------

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        made = self._keep(value, type(value)())
        for key, held in list(value.items()):
            made[self.twin(key)] = self.twin(held)
        return made

    def _list(self, value: list[Any]) -> list[Any]:
        made = self._keep(value, [])
        if _ATOMS.issuperset(map(type, value)):
            made.extend(value)
        else:
            made.extend(self.twin(held) for held in list(value))
        return made

    def _tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if _ATOMS.issuperset(map(type, value)):
            return value
        made = tuple(self.twin(held) for held in value)
        if id(value) in self._memo:  # it holds itself
            return self._memo[id(value)]
        return value if all(one is two for one, two in zip(made, value, strict=True)) else made

    def _set(self, value: Any) -> Any:
        return type(value)(self.twin(held) for held in list(value))

    def _proxy(self, value: Any) -> Any:
        return types.MappingProxyType(self.twin(dict(value)))

    def _queue(self, value: Any) -> Any:
        made = self._keep(value, type(value)(value.maxsize))
        made.queue = self.twin(value.queue)
        return made

    # -- what can be called ---------------------------------------------------------------------

    def _method(self, value: Any) -> Any:
        owner = self.twin(value.__self__)
        return value if owner is value.__self__ else types.MethodType(value.__func__, owner)

    def _builtin(self, value: Any) -> Any:
        owner = getattr(value, "__self__", None)
        if owner is None or isinstance(owner, (types.ModuleType, type)):
            return value
        mine = self.twin(owner)
        return value if mine is owner else getattr(mine, value.__name__, value)

    def _function(self, value: Any) -> Any:
        held = [value.__defaults__, value.__kwdefaults__, vars(value)]
        if not any(self._reaches(part) for part in [*(value.__closure__ or ()), *held]):
            return value
        cells = value.__closure__
        closure = None if cells is None else tuple(self._cell(cell) for cell in cells)
        made = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, closure)
        self._keep(value, made)
        for cell in cells or ():
            self._fill_cell(cell)
        made.__defaults__ = self.twin(value.__defaults__)
        made.__kwdefaults__ = self.twin(value.__kwdefaults__)
        for name in ("__qualname__", "__doc__", "__module__", "__annotations__"):
            setattr(made, name, getattr(value, name))
        vars(made).update({name: self.twin(part) for name, part in list(vars(value).items())})
        return made

    def _cell(self, cell: Any) -> Any:
        if id(cell) not in self._memo and self._reaches(cell):
            self._keep(cell, types.CellType())
        return self._memo.get(id(cell), cell)

    def _fill_cell(self, cell: Any) -> None:
        made = self._memo.get(id(cell), cell)
        if made is cell:
            return
        try:
            made.cell_contents  # noqa: B018
        except ValueError:
            made.cell_contents = self.twin(cell.cell_contents)

    def _reaches(self, value: Any, depth: int = _DEPTH) -> bool:
        """Whether a function's own state leads to a module or a tensor, whose twin it must then use."""
        if type(value) in _ATOMS or depth == 0:
            return False
        if isinstance(value, (nn.Module, Tensor)):
            return True
        if isinstance(value, types.CellType):
            try:
                return self._reaches(value.cell_contents, depth)
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
            return id(value()) in self._tree
        elif type(value) is _LRU:
            parts = [value.__wrapped__]
        else:  # an object of the caller's: only what belongs to this tree makes it ours
            held = getattr(value, "__dict__", None)
            return isinstance(held, dict) and any(id(part) in self._tree for part in list(held.values()))
        return any(self._reaches(part, depth - 1) for part in parts)

    def _cached(self, value: Any) -> Any:
        inner = self.twin(value.__wrapped__)
        if inner is value.__wrapped__:
            return value
        return functools.lru_cache(**value.cache_parameters())(inner)

    # -- everything else ------------------------------------------------------------------------

    def _reference(self, value: Any) -> Any:
        target = value()
        if isinstance(target, nn.Module) and (id(target) in self._tree or id(target) in self._memo):
            return weakref.ref(self.twin(target))
        return value

    def _weak_proxy(self, value: Any) -> Any:
        try:
            target = value.__init__.__self__
        except (ReferenceError, AttributeError):
            return value
        mine = self.twin(target) if id(target) in self._tree else target
        return value if mine is target else weakref.proxy(mine)

    def _object(self, value: Any) -> Any:
        kind = type(value)
        if hasattr(kind, "__del__"):  # a copy would close, when it goes, what is the base's
            return value
        try:
            if hasattr(kind, "__deepcopy__"):
                return kind.__deepcopy__(value, self._memo)
            reduce = copyreg.dispatch_table.get(kind)
            reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
            return value if isinstance(reduced, str) else self._rebuild(value, *reduced)
        except EngramError:
            raise
        except Exception:  # whatever a class says against being copied
            return self._by_attributes(value, kind)

    def _rebuild(
        self, value: Any, function: Callable[..., Any], args: tuple[Any, ...], state: Any = None,
        items: Any = None, pairs: Any = None, setter: Any = None,
    ) -> Any:  # fmt: skip
        """Do what `__reduce_ex__` asks for, with twins."""
        made = function(*[self.twin(arg) for arg in args])
        self._keep(value, made)
        if state is not None:
            state = self.twin(state)
            if setter is not None:
                setter(made, state)
            elif hasattr(made, "__setstate__"):
                made.__setstate__(state)
            else:
                self._set_state(made, state)
        for item in items or ():
            made.append(self.twin(item))
        for key, item in pairs or ():
            made[self.twin(key)] = self.twin(item)
        return made

    @staticmethod
    def _set_state(made: Any, state: Any) -> None:
        attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        if attributes:
            made.__dict__.update(attributes)
        for name, held in (slots or {}).items():
            object.__setattr__(made, name, held)

    def _by_attributes(self, value: Any, kind: type) -> Any:
        """Copy an object that refuses to be copied by its attributes, if it is made of nothing else."""
        self._memo.pop(id(value), None)
        plain = kind.__flags__ & _HEAP_TYPE and kind.__new__ is object.__new__
        if not plain or not (hasattr(value, "__dict__") or _slots(kind)):
            return value
        try:
            made = self._keep(value, object.__new__(kind))
            for name, held in list(getattr(value, "__dict__", {}).items()):
                made.__dict__[name] = self.twin(held)
            for name in _slots(kind):
                if hasattr(value, name):
                    object.__setattr__(made, name, self.twin(getattr(value, name)))
            return made
        except EngramError:
            raise
        except Exception:
            return value


def _clone_generator(_twins: Twins, value: torch.Generator) -> torch.Generator:
    return value.clone_state()  # its next numbers, without drawing them from the base's


_MAKERS: dict[type, Callable[[Twins, Any], Any]] = {
    dict: Twins._dict,
    OrderedDict: Twins._dict,
    list: Twins._list,
    tuple: Twins._tuple,
    set: Twins._set,
    frozenset: Twins._set,
    types.MappingProxyType: Twins._proxy,
    types.MethodType: Twins._method,
    types.FunctionType: Twins._function,
    types.BuiltinFunctionType: Twins._builtin,
    _LRU: Twins._cached,
    weakref.ref: Twins._reference,
    weakref.ProxyType: Twins._weak_proxy,
    weakref.CallableProxyType: Twins._weak_proxy,
    torch.Generator: _clone_generator,
    **dict.fromkeys(_QUEUES, Twins._queue),
}
