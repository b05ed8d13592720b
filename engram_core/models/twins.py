"""Twins of whatever a module tree holds: equal to the base's, and never the base's own state.

What can be copied is copied, piece by piece; what cannot (locks, files, sockets, generators …) is shared, and
only that: what holds it is still copied. Whatever refers to a module of the tree refers to its twin.
"""

from __future__ import annotations

import copy
import enum
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import EngramError
from .callable_twins import (
    LRU,
    builtin_twin,
    cached_twin,
    function_twin,
    method_twin,
    reference_twin,
    weak_proxy_twin,
)
from .object_twins import object_twin
from .tensor_twins import TensorTwins
from .twin_kinds import (
    ATOMS,
    HOOKS,
    QUEUES,
    is_compiled,
    is_plain,
    is_shared,
    slot_names,
)

__all__ = ["Twins"]

_MISSING: Any = object()
_COMPILED = "_compiled_call_impl"


class Twins:
    """One copy of a module tree in the making.

    Args:
        model: the base.
        copy_parameters: whether parameters are copied; otherwise they are shared.

    Attributes:
        memo: twins made so far, by the id of what they are twins of.
        tree: ids of the base's modules.
        replaced: see `TensorTwins`.
    """

    def __init__(self, model: nn.Module, *, copy_parameters: bool = False):
        # The form of copy.deepcopy's memo: classes that copy themselves are handed it.
        self.memo: dict[int, Any] = {}
        self._alive: list[Any] = []  # an id counts only as long as its object lives
        self._tensors = TensorTwins(model, copy_parameters=copy_parameters)
        self.replaced = self._tensors.replaced
        self.tree = frozenset(id(module) for module in model.modules())

    def take(self, module: nn.Module, twin: nn.Module) -> None:
        """Let `twin`, made before, be the twin of a module.

        Args:
            module: the base's.
            twin: its twin.
        """
        self.keep(module, twin)

    def twin(self, value: Any) -> Any:
        """Return the twin of any object; the object itself if it is shared.

        Args:
            value: the base's.
        """
        kind = type(value)
        if kind in ATOMS:
            return value
        found = self.memo.get(id(value), _MISSING)
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
        elif is_shared(kind):
            made = value
        else:
            made = object_twin(self, value)
        return self.keep(value, made)

    def keep(self, value: Any, made: Any) -> Any:
        """Remember the twin of an object, and return it.

        Args:
            value: the base's.
            made: its twin, which may still be empty.

        Returns:
            The twin.
        """
        if id(value) not in self.memo:
            self._alive.append(value)
        self.memo[id(value)] = made
        return made

    # -- modules and tensors --------------------------------------------------------------------

    def _tensor(self, value: Tensor) -> Tensor:
        made = self._tensors.twin(value)
        if made is not value and getattr(value, "__dict__", None) and type(made) is type(value):
            self.keep(value, made)
            for name, held in list(vars(value).items()):
                setattr(made, name, self.twin(held))
        return made

    def _module(self, module: nn.Module) -> nn.Module:
        kind: Any = type(module)
        if is_compiled(module):
            return self._compiled(module)
        if is_plain(kind):
            return self._fill(kind.__new__(kind), module)
        for held in [*module._parameters.values(), *module._buffers.values()]:
            if held is not None:
                self.twin(held)
        for child in module._modules.values():
            # Classes that copy themselves find their parts copied already, in the memo.
            if child is not None:
                self.twin(child)
        if id(module) in self.memo:
            return self.memo[id(module)]
        try:
            return copy.deepcopy(module, self.memo)
        except EngramError:
            raise
        except Exception as error:
            self.memo.pop(id(module), None)
            try:
                return self._fill(object.__new__(kind), module)
            except TypeError:
                raise EngramError(
                    f"{kind.__name__} cannot be copied, so the model cannot be run beside its base: {error}"
                ) from error

    def _compiled(self, module: Any) -> nn.Module:
        """Return the twin of what is inside: compiled code would not see what is changed on a twin."""
        made: nn.Module = self.twin(module._orig_mod)
        for name in HOOKS:  # those that were set on what the compiler returned
            vars(made)[name].update(self.twin(vars(module)[name]))
        return self.keep(module, made)

    def _fill(self, made: Any, module: nn.Module) -> nn.Module:
        self.keep(module, made)
        state = made.__dict__
        for name, value in list(vars(module).items()):
            kind = type(value)
            if kind in ATOMS:
                state[name] = value
            elif (
                name == _COMPILED
            ):  # it would call the base's own; torch's copies of modules leave it out, too
                continue
            elif name == "_parameters":
                state[name] = self.keep(value, kind((k, p if p is None else self._tensors.twin(p))
                                                     for k, p in list(value.items())))  # fmt: skip
            elif name == "_modules":
                state[name] = self.keep(value, kind((k, self.twin(m)) for k, m in list(value.items())))
            else:
                state[name] = self.twin(value)
        for name in slot_names(cast(Any, type(module))):
            if hasattr(module, name):
                object.__setattr__(made, name, self.twin(getattr(module, name)))
        return made

    # -- containers -----------------------------------------------------------------------------

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        made = self.keep(value, type(value)())
        for key, held in list(value.items()):
            made[self.twin(key)] = self.twin(held)
        return made

    def _list(self, value: list[Any]) -> list[Any]:
        made = self.keep(value, [])
        if ATOMS.issuperset(map(type, value)):
            made.extend(value)
        else:
            made.extend(self.twin(held) for held in list(value))
        return made

    def _tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if ATOMS.issuperset(map(type, value)):
            return value
        made = tuple(self.twin(held) for held in value)
        if id(value) in self.memo:  # it holds itself
            return self.memo[id(value)]
        return value if all(one is two for one, two in zip(made, value, strict=True)) else made

    def _set(self, value: Any) -> Any:
        return type(value)(self.twin(held) for held in list(value))

    def _proxy(self, value: Any) -> Any:
        return types.MappingProxyType(self.twin(dict(value)))

    def _queue(self, value: Any) -> Any:
        made = self.keep(value, type(value)(value.maxsize))
        made.queue = self.twin(value.queue)
        return made


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
    types.MethodType: method_twin,
    types.FunctionType: function_twin,
    types.BuiltinFunctionType: builtin_twin,
    LRU: cached_twin,
    weakref.ref: reference_twin,
    weakref.ProxyType: weak_proxy_twin,
    weakref.CallableProxyType: weak_proxy_twin,
    torch.Generator: _clone_generator,
    **dict.fromkeys(QUEUES, Twins._queue),
}
