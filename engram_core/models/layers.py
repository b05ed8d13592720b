"""Layers that hold memory: the rows each one reads, its matrix, and back; what is skipped and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from ..errors import CoverageError, suggest
from .linear_maps.adapted import is_adapted
from .linear_maps.frozen import hides_weight
from .linear_maps.kinds import linear_maps_of, why_no_linear_maps
from .linear_maps.linear import LinearMap
from .ties import WeightOwners
from .twin_kinds import is_compiled
from .view import base_of, plain_path, submodule

__all__ = ["LayerInfo", "LinearMap", "block_of", "find_linear_maps", "list_layers", "select_layers"]

_QUANTISED = "quantised: its stored values are not the weights"
_COMPLEX = "complex-valued: an engram is made of real rows and weights"
_LAZY = "not initialised: it has no weights yet; run the model once first"
_SCRIPT = "TorchScript: its compiled code cannot be listened to; give the Python module it was made from"
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)


@dataclass(frozen=True)
class LayerInfo:
    """One line of the coverage list.

    Attributes:
        name: path of the layer in the model.
        kind: class of the layer.
        width: columns of its input rows, with the bias column; per group for grouped convolutions.
            None where the layer is not covered.
        outputs: rows of its matrix, over all groups; None where not covered.
        covered: whether engrams can live here.
        reason: why not, in words; empty if covered.
    """

    name: str
    kind: str
    width: int | None
    outputs: int | None
    covered: bool
    reason: str = ""


def _why_not(module: nn.Module) -> str:
    """Say why a module with parameters of its own holds no engram."""
    kind = type(module).__name__
    reason = _scripted_or_lazy(module) or why_no_linear_maps(module)
    if reason:
        return reason
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding: a table look-up, not a linear map of an activation"
    if isinstance(module, _NORMS) or "norm" in kind.casefold():
        return "normalisation: rescales, does not store"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "recurrent: its weights act inside one fused step"
    if isinstance(module, nn.MultiheadAttention):
        return "a subclass of MultiheadAttention with code of its own"
    if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
        return f"{kind} replaces the forward pass of the layer it derives from"
    own = list(module.parameters(recurse=False))
    if any(not (p.is_floating_point() or p.is_complex()) for p in own):
        return _QUANTISED
    if "router" in kind.casefold() or kind.endswith("Gate"):
        return "router: it chooses the experts, and its weights act inside that choice"
    return _why_bare(module)


_ADDED = ("pos", "embed", "token", "cls", "bias", "query", "queries", "shift")
_SCALES = ("gamma", "scale", "temperature", "alpha", "beta")


def _why_bare(module: nn.Module) -> str:
    """Say what bare parameters are, as far as their names and shapes tell."""
    named = list(module.named_parameters(recurse=False))
    kind = type(module).__name__
    experts = "expert" in kind.casefold() or hasattr(module, "num_experts")
    if any(p.ndim == 3 for _, p in named) and (experts or any("expert" in name for name, _ in named)):
        return "fused experts of a form not known here"
    start = "a bare parameter" if len(named) == 1 else "bare parameters"
    shown = ", ".join(repr(name) for name, _ in named[:3]) + (" …" if len(named) > 3 else "")
    shown = f"({shown} of {kind})"

    def added(name: str, p: nn.Parameter) -> bool:
        return any(word in name.casefold() for word in _ADDED) or (p.ndim > 1 and p.shape[0] == 1)

    def scales(name: str, p: nn.Parameter) -> bool:
        return p.ndim < 2 or any(word in name.casefold() for word in _SCALES)

    if all(added(name, p) for name, p in named):
        return f"{start}: added, not a linear map {shown}"
    if all(added(name, p) or scales(name, p) for name, p in named):
        return f"{start}: added or multiplied value by value, not a linear map {shown}"
    return f"{kind} is not a known linear map: its own code uses {start} {shown}"


def _blocked(module: nn.Module, linear_maps: Sequence[LinearMap], memory: WeightOwners) -> str:
    """Say why a module of a covered kind still cannot be edited; empty if it can."""
    for linear_map in linear_maps:
        weights = linear_map.weights(module)
        if not weights and linear_map.opaque:
            continue  # an edit never touches what is stored
        if not weights:
            return "its weight is computed from other parameters at every call"
        for attribute, weight in weights.items():
            if is_lazy(weight):
                return _LAZY
            if weight.is_complex():
                return _COMPLEX
            if not weight.is_floating_point() or weight.element_size() < 2:
                return f"quantised: weights of type {weight.dtype} cannot be edited"
            if weight.is_meta:
                return "its weights are not loaded (meta device)"
            head, _, name = attribute.rpartition(".")
            other = memory.other(module, submodule(module, head), name, weight)
            if other:
                return f"tied: shares its weight with {other!r}; an edit here would change that too"
    return ""


def _survey(model: nn.Module) -> tuple[list[LayerInfo], list[LinearMap]]:
    model = base_of(model)
    memory = WeightOwners(model)
    seen: dict[int, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if not is_compiled(module) and "parametrizations" not in name.split("."):
            seen.setdefault(id(module), (plain_path(name), module))
    modules = list(seen.values())
    infos: list[LayerInfo] = []
    linear_maps: list[LinearMap] = []
    inside: set[int] = set()
    found_in: dict[int, tuple[list[LinearMap] | None, str]] = {}
    for name, module in modules:
        if id(module) in inside:
            continue
        found = None if _scripted_or_lazy(module) else linear_maps_of(name, module)
        reason = _blocked(module, found, memory) if found else ""
        found_in[id(module)] = found, reason
        attention = type(module) is nn.MultiheadAttention  # uses its out-projection past that layer's forward
        if is_adapted(module) or attention or (found and not reason and found[0].encloses):
            # Listed as parts of what is above them, whatever else they are called.
            inside.update(id(part) for part in module.modules() if part is not module)
    for name, module in modules:
        if id(module) in inside:
            continue
        kind = type(module).__name__
        bare = not any(True for _ in module.parameters(recurse=False))
        # A computed weight is not asked for: in training mode that may write what it is computed from.
        if bare and not (is_adapted(module) or parametrize.is_parametrized(module)):
            if isinstance(module, torch.jit.ScriptModule) or not hides_weight(module):
                continue
        found, reason = found_in[id(module)]
        if found and not reason:
            for linear_map in found:
                linear_maps.append(linear_map)
                infos.append(
                    LayerInfo(linear_map.name, linear_map.kind, linear_map.width, linear_map.outputs, True)
                )
            continue
        kind = getattr(module, "original_name", kind)  # what a scripted layer was
        infos.append(LayerInfo(name or kind, kind, None, None, False, reason or _why_not(module)))
    return infos, linear_maps


def _scripted_or_lazy(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return _SCRIPT
    return _LAZY if any(is_lazy(p) for p in module.parameters(recurse=False)) else ""


def list_layers(model: nn.Module) -> list[LayerInfo]:
    """List every layer that has parameters: covered, or why not.

    Args:
        model: any model or view.

    Returns:
        One entry per layer in the order of the module tree; the four maps of a
        ``nn.MultiheadAttention`` are four entries.
    """
    return _survey(model)[0]


def find_linear_maps(model: nn.Module) -> list[LinearMap]:
    """Return every covered linear map of `model`.

    Args:
        model: any model or view.

    Raises:
        CoverageError: if there is none; the message says what was found instead.
    """
    infos, linear_maps = _survey(model)
    if not linear_maps:
        found = "; ".join(f"{i.name} ({i.kind}): {i.reason}" for i in infos[:6]) or "no layer with parameters"
        raise CoverageError(
            f"{type(model).__name__} has no layer that can hold an engram (Linear, Conv1D, convolutions, "
            f"MultiheadAttention, fused experts). Found: {found}."
        )
    return linear_maps


def select_layers(
    names: Iterable[str], layers: str | Iterable[str] | None = None, blocks: Iterable[int] | None = None
) -> list[str]:
    """Choose layers the way PEFT does.

    Args:
        names: the names to choose from, in order.
        layers: None for all; a list of name suffixes (whole dotted parts; without its number in brackets
            an expert's name means all experts); or a string, a regular expression that must match the full
            name.
        blocks: keep only layers whose first number in the path is one of these.

    Returns:
        The names that are left, in order.

    Raises:
        UnknownNameError: if a suffix names no layer.
        CoverageError: if nothing is left, or the expression is malformed.
    """
    available = list(names)
    chosen = available
    if isinstance(layers, str):
        try:
            pattern = re.compile(layers)
        except re.error as error:
            message = f"The layer pattern {layers!r} is not a regular expression: {error}."
            raise CoverageError(message) from None
        chosen = [name for name in available if pattern.fullmatch(name)]
    elif layers is not None:
        wanted = list(layers)
        hits: set[str] = set()
        for suffix in wanted:
            match = [n for n in available if _ends(n, suffix) or _ends(n.partition("[")[0], suffix)]
            if not match:
                raise suggest("layer", suffix, [*available, *{n.rpartition(".")[2] for n in available}])
            hits.update(match)
        chosen = [name for name in available if name in hits]
    if blocks is not None:
        numbers = set(blocks)
        chosen = [name for name in chosen if block_of(name) in numbers]
    if not chosen:
        raise CoverageError(
            f"No covered layer matches layers={layers!r}, blocks={blocks!r}. "
            f"Covered: {', '.join(available[:12])}{' …' if len(available) > 12 else ''}."
        )
    return chosen


def _ends(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith("." + suffix)


def block_of(name: str) -> int | None:
    """Return the first number in a layer's path, which is its block; None without one.

    Args:
        name: path of the layer in the model.
    """
    return next((int(part) for part in name.split(".") if part.isdigit()), None)
