"""Layers wrapped by an adapter of PEFT (LoRA and its relatives): one map, of the base's weight and theirs.

A wrapper is known by the class it derives from, so that the core needs no ``peft``. The weight in force is
PEFT's own: a copy of the layer is merged by the adapter's own method, and nothing of the wrapper is written.
"""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CoverageError
from ..view import submodule
from .derived import DerivedMap, filled, replace_forward, replacing_layer, restore_forward

__all__ = ["AdaptedMap", "adapter_name", "is_adapted", "merged_layer", "why_not_adapted"]

_TRIES = 3  # inputs on which a wrapper is held against its merged layer
_AGREES = {torch.float64: 1e-4, torch.float32: 1e-3}  # relative; in half precision 5 %

_checked: weakref.WeakKeyDictionary[nn.Module, tuple[Any, str]] = weakref.WeakKeyDictionary()


def is_adapted(module: nn.Module) -> bool:
    """Return whether `module` is a layer that an adapter wraps.

    Args:
        module: any module.
    """
    return isinstance(getattr(module, "base_layer", None), nn.Module) and any(
        kind.__name__ == "BaseTunerLayer" and kind.__module__.startswith("peft.")
        for kind in type(module).__mro__
    )


def adapter_name(module: nn.Module) -> str:
    """Return what the adapter of a wrapper is called, e.g. ``LoRA``.

    Args:
        module: the wrapper.
    """
    parts = type(module).__module__.split(".")  # peft.tuners.lora.layer
    name = parts[2] if len(parts) > 2 else "adapter"
    known = {"lora": "LoRA", "adalora": "AdaLoRA", "loha": "LoHa", "lokr": "LoKr", "ia3": "IA3", "oft": "OFT"}
    return known.get(name, name)


def merged_layer(module: Any) -> nn.Module:
    """Return the layer that a wrapper computes now, as a plain one that nobody else holds.

    Args:
        module: the wrapper; its active adapters count, unless they are switched off.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it was merged before, which is what we want
        twin = copy.deepcopy(module).eval()
        if any(p.is_floating_point() and p.element_size() < 4 for p in twin.parameters()):
            twin.float()  # sums in half precision would lose what an adapter adds
        if not twin.disable_adapters:
            twin.merge()
        layer: nn.Module = twin.get_base_layer()
    return layer


def why_not_adapted(module: Any, run: Callable[[nn.Module, Tensor], Tensor], shape: tuple[int, ...]) -> str:
    """Return why the map of a wrapper cannot be taken as one matrix; empty if it can.

    The wrapper is run beside its merged layer, once for every state of its adapters.

    Args:
        module: the wrapper.
        run: runs a private copy of a module.
        shape: of an input that the layer reads.
    """
    name = adapter_name(module)
    if module.disable_adapters and module.merged:
        return (
            f"its {name} adapter is merged and switched off: the next pass would take it out of the base's "
            "weight. Call unmerge_adapter() first"
        )
    state = (module.disable_adapters, tuple(module.active_adapters), tuple(module.merged_adapters), shape)
    known = _checked.get(module)
    if known is None or known[0] != state:
        known = _checked[module] = (state, _compare(module, run, shape))
    return known[1]


def _compare(module: Any, run: Callable[[nn.Module, Tensor], Tensor], shape: tuple[int, ...]) -> str:
    name, base = adapter_name(module), module.get_base_layer()
    advice = "merge it into the model first (merge_and_unload)"
    try:
        layer = merged_layer(module)
    except Exception as error:  # an adapter's own code: what it raises is not known here
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"its {name} adapter cannot be merged by PEFT ({said.rstrip('.')}), so its matrix is not known"
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_TRIES, *shape, generator=generator).to(base.weight)
    wide = x.to(layer.weight)  # type: ignore[arg-type]
    try:
        found, expected = run(module, x).to(wide), layer(wide)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        return f"its {name} adapter does not run by itself ({str(error).splitlines()[0]}): {advice}"
    gap = torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected).clamp(min=1e-30)
    if float(gap) > _AGREES.get(base.weight.dtype, 0.05):
        return f"its {name} adapter is no fixed linear map of the layer's input: {advice}"
    return ""


@dataclass(frozen=True)
class AdaptedMap(DerivedMap):
    """A layer with its adapters: the sum of both is the map, and both are in a baked model."""

    def plain(self, module: nn.Module) -> nn.Module:
        """Return the layer with the adapters that are active merged into it.

        Args:
            module: the wrapper, or the layer of a baked copy.
        """
        if not is_adapted(module):
            return module  # a baked copy
        held = replacing_layer(module)
        return merged_layer(module) if held is None else held

    def weights(self, module: nn.Module) -> dict[str, nn.Parameter]:
        """Return the weight of the layer below the adapters: only that may belong to another layer too.

        Args:
            module: the wrapper.
        """
        base = module.get_base_layer()  # type: ignore[operator]
        return {n: p for n, p in module.named_parameters() if p is base.weight}

    def constant(self, module: nn.Module) -> Callable[[], Tensor]:
        """Return what gives the bias, to which an adapter may add its own.

        Args:
            module: the wrapper, on a view.
        """
        bias: Any = self.plain(module).bias
        fixed: Tensor = bias.detach()
        return lambda: fixed

    def _layer(self, module: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
        like: Tensor = module.get_base_layer().weight if is_adapted(module) else module.weight  # type: ignore[operator,assignment]
        layer = merged_layer(module) if is_adapted(module) else module
        return filled(layer, weight, bias, like)

    def _install(self, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        replace_forward(module, self._layer(module, weight, bias))

    def release(self, view: nn.Module) -> bool:
        """Put the wrapper back in force.

        Args:
            view: a private view.

        Returns:
            True: it can always be done.
        """
        restore_forward(submodule(view, self.module))
        return True

    def _bake(self, model: nn.Module, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        layer = self._layer(module, weight, bias)
        if layer is not module and not put_in_place(model, module, layer):
            raise CoverageError(
                f"Layer {self.name!r} is a whole model by itself and wrapped by an adapter, so nothing holds "
                "the plain layer that would take its place. Merge the adapter first (merge_and_unload)."
            )


def put_in_place(model: nn.Module, old: nn.Module, new: nn.Module) -> bool:
    """Put a module where another is, under every name it has; False if it has none.

    Args:
        model: that holds it.
        old: the module that is there.
        new: the module that takes its place.

    Returns:
        Whether it was there.
    """
    found = False
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
                found = True
    return found
