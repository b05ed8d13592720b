"""Which maps a module has: one look at its class, and at what is wrapped around it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..view import shared_copy
from .adapted import AdaptedMap, adapter_name, is_adapted, why_not_adapted
from .attention import AttentionMap
from .conv import ConvMap, conv_map
from .derived import DerivedMap
from .experts import expert_maps
from .frozen import holds_values, is_frozen
from .linear import Conv1DMap, LinearMap
from .opaque import opaque_map, why_opaque
from .parametrized import HookedMap, ParametrizedMap, hooks_of, parametrization_names
from .transposed import TransposedConvMap, transposed_conv_map

__all__ = ["linear_maps_of", "why_no_linear_maps"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def linear_maps_of(name: str, module: nn.Module) -> list[LinearMap] | None:
    """Return the maps of one module, or None if it is not of a covered kind.

    Args:
        name: its path in the model.
        module: the module.
    """
    label = name or type(module).__name__  # a bare layer given as the model has no path
    if is_adapted(module):
        inner, base = _inner(module), module.get_base_layer()  # type: ignore[operator]
        if inner is None and is_frozen(base):
            return _opaque(label, name, module, f"{_frozen_kind(base)} + {adapter_name(module)}")
        if inner is None or why_no_linear_maps(module):
            return None
        return [_derived(AdaptedMap, inner, label, name, f"{inner.kind} + {adapter_name(module)}")]
    if is_frozen(module) and not hasattr(module, "num_experts"):
        return _opaque(label, name, module, _frozen_kind(module))
    plain = _plain_maps(label, name, module)
    if not plain or isinstance(plain[0], AttentionMap):
        return plain or expert_maps(name, module)
    kind: type[DerivedMap] | None = None
    if parametrize.is_parametrized(module):
        computed: Any = module.parametrizations
        kind = ParametrizedMap if {"weight", "bias"} & set(computed) else None
    elif {"weight", "bias"} & set(hooks_of(module)):
        kind = HookedMap
    if kind is None:
        return plain
    if why_no_linear_maps(module):
        return None
    said = f"{plain[0].kind} ({', '.join(parametrization_names(module))})"
    return [_derived(kind, replace(plain[0], module=""), label, name, said)]


def why_no_linear_maps(module: nn.Module) -> str:
    """Return why a layer that is wrapped or computed has no map that could be edited; empty if it has.

    Args:
        module: the layer.
    """
    if is_adapted(module):
        inner, name = _inner(module), adapter_name(module)
        if inner is None:
            base = module.get_base_layer()  # type: ignore[operator]
            if is_frozen(base):
                return why_opaque(module)
            if isinstance(base, nn.Embedding):
                return f"embedding, with a {name} adapter: a table look-up, not a linear map of an activation"
            return (
                f"its {name} adapter wraps {type(base).__name__}, which is no plain linear map: merge it "
                "into the model first (merge_and_unload)"
            )
        return why_not_adapted(module, _run, _example(inner))
    if is_frozen(module):
        return why_opaque(module)
    names: Any = module.parametrizations if parametrize.is_parametrized(module) else hooks_of(module)
    if names:
        other = next((n for n in names if n not in ("weight", "bias")), None)
        return "" if other is None else f"parametrised: its {other!r} is computed at every call"
    return ""


def _plain_maps(label: str, name: str, module: nn.Module) -> list[LinearMap] | None:
    if type(module) is nn.MultiheadAttention:
        packed = module.in_proj_weight is not None
        size = module.embed_dim
        widths = {"q": size, "k": module.kdim, "v": module.vdim, "out": size}
        return [
            AttentionMap(
                f"{name}.{part}_proj" if name else f"{part}_proj", name, "MultiheadAttention", size,
                int(width),
                bool((module.in_proj_bias if part != "out" else module.out_proj.bias) is not None),
                part=part, packed=packed,
            )
            for part, width in widths.items()
        ]  # fmt: skip
    if _is_conv1d(module):
        columns, outputs = _shape(module)
        return [Conv1DMap(label, name, "Conv1D", outputs, columns, True)]
    if _inherits(module, nn.Linear) or _is_falcon_linear(module):
        outputs, columns = _shape(module)
        return [LinearMap(label, name, "Linear", outputs, columns, module.bias is not None)]
    if any(_inherits(module, kind) and _plainly_applied(module, kind) for kind in _CONVOLUTIONS):
        return [conv_map(label, name, module)]
    if any(_inherits(module, kind) for kind in _TRANSPOSED):
        return [transposed_conv_map(label, name, module)]
    return None


def _opaque(label: str, name: str, module: nn.Module, kind: str) -> list[LinearMap] | None:
    linear_map = opaque_map(label, name, module, kind)
    return None if linear_map is None else [linear_map]


def _frozen_kind(module: nn.Module) -> str:
    return f"{type(module).__name__} (quantised)"


def _shape(module: nn.Module) -> tuple[int, int]:
    # Asking a parametrised weight for its shape would compute it, and in training mode write its state.
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return int(module.out_features), int(module.in_features)  # type: ignore[arg-type]
    rows, columns = module.weight.shape  # type: ignore[union-attr,misc]
    return int(rows), int(columns)


def _inherits(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether `module` computes exactly what `kind` computes."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _plainly_applied(module: nn.Module, kind: type[nn.Module]) -> bool:
    return getattr(type(module), "_conv_forward", None) is getattr(kind, "_conv_forward", None)


def _is_conv1d(module: nn.Module) -> bool:
    # By name, so that the core needs no transformers to know it.
    return any(
        base.__name__ == "Conv1D"
        and base.__module__ == "transformers.pytorch_utils"
        and type(module).forward is base.forward  # type: ignore[attr-defined]
        for base in type(module).__mro__
    )


def _is_falcon_linear(module: nn.Module) -> bool:
    # Falcon writes its own forward for the order of rounding in bfloat16; the map is the same.
    kind = type(module)
    return kind.__name__ == "FalconLinear" and kind.__module__.startswith("transformers.models.falcon")


def _inner(module: Any) -> LinearMap | None:
    """Return the map of the plain layer that an adapter wraps, or None if it wraps anything else."""
    base = module.get_base_layer()
    if parametrize.is_parametrized(base) or hooks_of(base):
        return None
    linear_maps = _plain_maps("", "", base)
    weight = getattr(base, "weight", None)
    if not linear_maps or len(linear_maps) != 1 or not isinstance(weight, nn.Parameter):
        return None
    if not weight.is_floating_point() or not holds_values(weight):
        return None
    return linear_maps[0]


def _derived(kind: type[DerivedMap], inner: LinearMap, label: str, name: str, said: str) -> DerivedMap:
    shared = {f.name: getattr(inner, f.name) for f in fields(LinearMap)}
    return kind(**shared | {"name": label, "module": name, "kind": said}, inner=inner)


def _example(linear_map: LinearMap) -> tuple[int, ...]:
    """Return the shape of the smallest input that a map surely takes, without the axis of inputs."""
    if isinstance(linear_map, ConvMap):
        taps = [d * (k - 1) + 1 for d, k in zip(linear_map.dilation, linear_map.kernel, strict=True)]
        channels = linear_map.columns * linear_map.groups
        for size in linear_map.kernel:
            channels //= size
        return (channels, *(tap + 2 for tap in taps))
    if isinstance(linear_map, TransposedConvMap):
        return (linear_map.columns * linear_map.groups, *(3 for _ in linear_map.kernel))
    return (linear_map.columns,)


def _run(module: nn.Module, x: Tensor) -> Tensor:
    """Return what a module answers in evaluation, by a private copy of it."""
    with torch.no_grad():
        found: Tensor = shared_copy(module).eval()(x)
    return found
