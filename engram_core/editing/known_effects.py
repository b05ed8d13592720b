"""What was shown to act in which model, and whether that model is still the one that was recorded."""

from __future__ import annotations

import types
import weakref
from collections.abc import Iterable
from typing import Any

from torch import nn

from ..errors import EffectError
from ..models.layers import LinearMap, find_linear_maps, list_layers

__all__ = ["Form", "known_to_act", "remember", "still_layers", "structure"]

Form = tuple[str, str]
"""A layer's name and how it is edited: ``"weights"``, ``"input"`` or ``"output"``."""

_ATOMS = (bool, int, float, str, type(None))
_shown: weakref.WeakKeyDictionary[nn.Module, tuple[Any, set[Form]]] = weakref.WeakKeyDictionary()


def structure(model: nn.Module) -> Any:
    """Return what decides which code a pass of `model` runs: classes, switches, hooks, forwards set."""
    found: list[Any] = []
    for module in model.modules():
        state = vars(module)
        found.append((id(module), id(type(module))))
        for name, value in state.items():
            kind = type(value)
            if kind in _ATOMS:
                if name != "training":
                    found.append((name, value))
            elif name.endswith("_hooks") and isinstance(value, dict):
                found.extend((name, id(hook)) for hook in value.values()) if value else None
            elif isinstance(value, types.FunctionType | types.MethodType) or name == "forward":
                found.append((name, id(getattr(value, "__func__", value))))
    return tuple(found)


def known_to_act(base: nn.Module, built: Any) -> set[Form]:
    """Return what was shown to act in a model of this structure."""
    known = _shown.get(base)
    return known[1] if known is not None and known[0] == built else set()


def remember(base: nn.Module, built: Any, forms: Iterable[Form]) -> None:
    """Keep what was shown to act."""
    _shown[base] = (built, known_to_act(base, built) | set(forms))


def still_layers(base: nn.Module, linear_maps: Iterable[LinearMap]) -> None:
    """Raise EffectError unless the model's layers are what they were when their linear_maps were found."""
    infos = {info.name: info for info in list_layers(base)}
    now = set(find_linear_maps(base)) if any(info.covered for info in infos.values()) else set()
    for linear_map in linear_maps:
        if linear_map in now:
            continue
        info = infos.get(linear_map.name)
        if info is None:
            found = "it is no longer there"
        elif info.covered:
            found = f"it is another {info.kind} now, of width {info.width} with {info.outputs} outputs"
        else:
            found = f"it is {info.kind} now, which cannot be edited: {info.reason}"
        was = f"{linear_map.kind}, width {linear_map.width}, {linear_map.outputs} outputs"
        raise EffectError(
            f"Layer {linear_map.name!r} is not what was recorded ({was}): {found}. "
            "Record the model again as it is now."
        )
