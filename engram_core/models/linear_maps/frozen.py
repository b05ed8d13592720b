"""Layers whose stored values are not their weights: quantised ones of any library, known by their content."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

__all__ = ["hides_weight", "holds_values", "is_frozen", "stored_tensors"]


def hides_weight(module: nn.Module) -> bool:
    """Return whether a module without parameters still has a weight, in a packed or integer form.

    Args:
        module: any module.
    """
    weight = getattr(module, "weight", None)
    if callable(weight) and not isinstance(weight, nn.Module):
        return True
    return any("weight" in n and not b.is_floating_point() for n, b in module.named_buffers(recurse=False))


def holds_values(weight: Tensor) -> bool:
    """Return whether a floating-point weight is what it says, and not stored in a form of its class's own.

    Args:
        weight: any tensor.
    """
    kind: Any = type(weight)
    function = getattr(kind.__torch_function__, "__func__", kind.__torch_function__)
    computes = function not in (Tensor.__torch_function__.__func__, nn.Parameter.__torch_function__)  # type: ignore[attr-defined]
    return not (
        computes
        or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__
        or hasattr(kind, "__tensor_flatten__")
        or weight.element_size() < 2
    )


def is_frozen(module: nn.Module) -> bool:
    """Return whether the weight of a module is stored in a form that is not its values.

    Args:
        module: any module.
    """
    if parametrize.is_parametrized(module) or isinstance(module, torch.jit.ScriptModule):
        return False
    parameters = [p for p in module._parameters.values() if p is not None and not is_lazy(p)]
    if any(not (p.is_floating_point() or p.is_complex()) for p in parameters):
        return True
    weight = module._parameters.get("weight")
    if isinstance(module, nn.Linear) and weight is not None and not is_lazy(weight):
        # A tensor of a class with arithmetic of its own holds scales and packed values, whatever its type.
        return not holds_values(weight)
    return not parameters and hides_weight(module)


def stored_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return what the frozen layers of a model store besides parameters, by name: packed values, scales.

    Args:
        model: any model; one without frozen layers has none.
    """
    found: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        if not is_frozen(module):
            continue
        parameters = {name for name, _ in module.named_parameters()}
        for name, value in module.state_dict().items():
            if name not in parameters:
                for place, part in enumerate(value if isinstance(value, tuple) else (value,)):
                    if isinstance(part, Tensor):
                        found[f"{path}.{name}.{place}"] = part
    return list(found.items())
