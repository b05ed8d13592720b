"""Layers under a parametrisation: weight norm, spectral norm, orthogonal, pruning, or one of the user's own.

Both of torch's forms are known: ``torch.nn.utils.parametrize``, where the weight is a property of a class
made for the layer, and the older one, where a hook before the forward pass writes the weight as an attribute.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

from ..view import shared_copy, submodule
from .derived import DerivedMap, filled

__all__ = ["HookedMap", "ParametrizedMap", "hooks_of", "parametrization_buffers", "parametrization_names"]

_KEPT = "_engram_kept"
_NAMES = ("weight", "bias")


@dataclass(frozen=True)
class ParametrizedMap(DerivedMap):
    """A layer under ``torch.nn.utils.parametrize``."""

    def plain(self, module: nn.Module) -> nn.Module:
        """Return a layer of the original class with the weight in force in evaluation.

        Args:
            module: the module.
        """
        if not parametrize.is_parametrized(module):
            return module  # a view that holds an edited weight, or a baked copy
        # A copy, because in training mode some parametrisations write their state at every look.
        twin = shared_copy(module).eval()
        # Asked directly: torch keeps what the property gives under parametrize.cached(), by id.
        found: dict[str, Tensor] = {n: p() for n, p in twin.parametrizations.items()}  # type: ignore[union-attr,operator]
        _strip(twin)
        for name, tensor in found.items():
            twin._parameters[name] = nn.Parameter(tensor.detach(), requires_grad=False)
        return twin

    def _install(self, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        if _KEPT not in vars(module):
            like = next(iter(self.weights(module).values()))
            below = module._modules["parametrizations"]
            kept = (type(module), dict(module._parameters), below, like, module.training)
            vars(module)[_KEPT] = kept
            plain = self.plain(module)
            _strip(module)
            for name in _NAMES:  # a bias that is not edited stays what it was
                module._parameters.setdefault(name, plain._parameters.get(name))
        filled(module, weight, bias, vars(module)[_KEPT][3])

    def release(self, view: nn.Module) -> bool:
        """Put the parametrisation back in force.

        Args:
            view: a private view.

        Returns:
            True: it can always be done.
        """
        module = submodule(view, self.module)
        kept = vars(module).pop(_KEPT, None)
        if kept is not None:
            kind, parameters, parametrizations, _, training = kept
            module._parameters.clear()
            module._parameters.update(parameters)
            module._modules["parametrizations"] = parametrizations
            module.__class__ = kind
            if module.training != training:  # a mode set in between did not reach what was taken off
                parametrizations.train(module.training)
        return True

    def _bake(self, model: nn.Module, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        if parametrize.is_parametrized(module):
            self._install(module, weight, bias)
            del vars(module)[_KEPT]
        else:
            filled(module, weight, bias, module.weight)  # type: ignore[arg-type]


def _strip(module: nn.Module) -> None:
    """Take the parametrisation off a private layer; its parametrised tensors are then missing."""
    del module._modules["parametrizations"]
    module.__class__ = type(module).__mro__[1]  # torch's class stands right before the layer's own


_Hook = WeightNorm | SpectralNorm | prune.BasePruningMethod


def hooks_of(module: nn.Module) -> dict[str, _Hook]:
    """Return the hooks of torch's older forms that write a tensor of `module`, by the tensor's name.

    Args:
        module: any module.
    """
    found: dict[str, _Hook] = {}
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod):
            found[hook._tensor_name] = hook
        elif isinstance(hook, WeightNorm | SpectralNorm):
            found[hook.name] = hook
    return found


@dataclass(frozen=True)
class HookedMap(DerivedMap):
    """A layer whose weight a hook computes: the older ``weight_norm`` and ``spectral_norm``, and pruning."""

    def plain(self, module: nn.Module) -> nn.Module:
        """Return a copy with the weight that the hook gives in evaluation.

        Args:
            module: the module.
        """
        if not hooks_of(module):
            return module
        twin = shared_copy(module).eval()
        for hook in hooks_of(twin).values():
            call: Callable[..., Any] = hook
            call(twin, ())
        return twin

    def _install(self, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        if _KEPT not in vars(module):
            like = next(iter(self.weights(module).values()))
            hooks = hooks_of(module)
            plain = self.plain(module)
            kept = (
                dict(module._parameters), OrderedDict(module._forward_pre_hooks),
                {name: vars(module).pop(name) for name in hooks if name in vars(module)}, like,
            )  # fmt: skip
            for key, hook in kept[1].items():
                if hook in hooks.values():
                    del module._forward_pre_hooks[key]
            for name in hooks:
                value: Tensor = getattr(plain, name)
                module._parameters[name] = nn.Parameter(value.detach(), requires_grad=like.requires_grad)
            vars(module)[_KEPT] = kept
        filled(module, weight, bias, vars(module)[_KEPT][3])

    def release(self, view: nn.Module) -> bool:
        """Put the hook back in force.

        Args:
            view: a private view.

        Returns:
            True: it can always be done.
        """
        module = submodule(view, self.module)
        kept = vars(module).pop(_KEPT, None)
        if kept is not None:
            parameters, hooks, computed, _ = kept
            module._parameters.clear()
            module._parameters.update(parameters)
            module._forward_pre_hooks.clear()
            module._forward_pre_hooks.update(hooks)
            vars(module).update(computed)
        return True

    def _bake(self, model: nn.Module, module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        for name, hook in hooks_of(module).items():
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, name)
                _forget_loading(module, hook)
            else:
                prune.remove(module, name)
        filled(module, weight, bias, module.weight)  # type: ignore[arg-type]


def _forget_loading(module: nn.Module, hook: SpectralNorm) -> None:
    """Take away what spectral norm left for loading a state, which torch wraps and then does not find."""
    for key, loading in list(module._load_state_dict_pre_hooks.items()):
        wrapped: Any = getattr(loading, "hook", loading)
        if isinstance(wrapped, SpectralNormLoadStateDictPreHook) and wrapped.fn.name == hook.name:
            del module._load_state_dict_pre_hooks[key]


def parametrization_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the buffers that weights of a model are computed from, by name: masks, singular vectors ….

    Args:
        model: any model.
    """
    found = []
    for path, module in model.named_modules():
        stem = f"{path}." if path else ""
        if parametrize.is_parametrized(module):
            below: Any = module.parametrizations
            found += [(f"{stem}parametrizations.{n}", b) for n, b in below.named_buffers()]
        names = tuple(f"{name}_" for name in hooks_of(module))
        if names:
            own = module.named_buffers(recurse=False)
            found += [(f"{stem}{n}", b) for n, b in own if n.startswith(names)]
    return found


def parametrization_names(module: nn.Module) -> list[str]:
    """Return what the parametrisations of a layer are called, each once, in the order they are applied.

    Args:
        module: any module.
    """
    if parametrize.is_parametrized(module):
        chains: Any = module.parametrizations
        names = [type(step).__name__ for chain in chains.values() for step in chain]
    else:
        names = [
            "pruned" if isinstance(hook, prune.BasePruningMethod) else type(hook).__name__
            for hook in hooks_of(module).values()
        ]
    return list(dict.fromkeys(_spelt(name) for name in names))


def _spelt(name: str) -> str:
    """Return torch's own name for what one of its private classes does; others keep their name."""
    if name in ("WeightNorm", "SpectralNorm") or name.startswith("_"):
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.lstrip("_")).casefold()
    return name
