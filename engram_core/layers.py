"""Layers that hold memory: the rows each one reads, its matrix, and back; what is skipped and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

from .errors import CoverageError, suggest
from .linear_maps.adapted import is_adapted
from .linear_maps.kinds import slots_of, why_no_slots
from .linear_maps.opaque import hides_weight
from .slots import Slot

__all__ = ["LayerInfo", "Slot", "block_of", "find_slots", "list_layers", "select_layers"]

_QUANTISED = "quantised: its stored values are not the weights"
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
    reason = why_no_slots(module)
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
    if any(not p.is_floating_point() for p in module.parameters(recurse=False)):
        return _QUANTISED
    if "router" in kind.casefold() or kind.endswith("Gate"):
        return "router: it chooses the experts, and its weights act inside that choice"
    if any(p.ndim == 3 for p in module.parameters(recurse=False)):
        return "three-dimensional parameters (fused experts of a form not known here, or bare parameters)"
    return f"{kind} is not a known linear map: its parameters stand bare in the module"


def _blocked(module: nn.Module, slots: Sequence[Slot], owners: dict[int, list[str]]) -> str:
    """Say why a module of a covered kind still cannot be edited; empty if it can."""
    for slot in slots:
        weights = slot.weights(module)
        if not weights and slot.opaque:
            continue  # an edit never touches what is stored
        if not weights:
            return "its weight is computed from other parameters at every call"
        for attribute, weight in weights.items():
            if isinstance(weight, nn.parameter.UninitializedParameter):
                return "not initialised: run the model once first"
            if not weight.is_floating_point() or weight.element_size() < 2:
                return f"quantised: weights of type {weight.dtype} cannot be edited"
            if weight.is_meta:
                return "its weights are not loaded (meta device)"
            path = f"{slot.module}.{attribute}" if slot.module else attribute
            others = [owner for owner in owners.get(_address(weight), []) if owner != path]
            if others:
                other = others[0]
                return f"tied: shares its weight with {other!r}; an edit here would change that too"
    return ""


def _address(tensor: Tensor) -> int:
    # Two Parameter objects over one memory are tied as much as one object with two names.
    return id(tensor) if tensor.is_meta else tensor.data_ptr()


def _survey(model: nn.Module) -> tuple[list[LayerInfo], list[Slot]]:
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if not isinstance(parameter, nn.parameter.UninitializedParameter):
            owners.setdefault(_address(parameter), []).append(name)
    infos: list[LayerInfo] = []
    slots: list[Slot] = []
    inside: str | None = None
    for name, module in model.named_modules():
        if (inside is not None and name.startswith(inside)) or "parametrizations" in name.split("."):
            continue  # listed as a part of what is above it, as the out-projection of an attention
        if not any(True for _ in module.parameters(recurse=False)):
            # A computed weight is not asked for: in training mode that may write what it is computed from.
            if not (is_adapted(module) or parametrize.is_parametrized(module)):
                if not hides_weight(module):
                    continue
        label = name or type(module).__name__
        kind = type(module).__name__
        uninitialised = any(
            isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters(recurse=False)
        )
        if uninitialised:
            infos.append(LayerInfo(label, kind, None, None, False, "not initialised: run the model once"))
            continue
        found = slots_of(name, module)
        reason = _blocked(module, found, owners) if found else _why_not(module)
        if is_adapted(module) or (found and not reason and found[0].encloses):
            inside = name + "." if name else ""
        if found and not reason:
            for slot in found:
                slots.append(slot)
                infos.append(LayerInfo(slot.name, slot.kind, slot.width, slot.outputs, True))
        else:
            infos.append(LayerInfo(label, kind, None, None, False, reason))
    return infos, slots


def list_layers(model: nn.Module) -> list[LayerInfo]:
    """List every layer that has parameters: covered, or why not.

    Returns:
        One entry per layer in the order of the module tree; the four maps of a
        ``nn.MultiheadAttention`` are four entries.
    """
    return _survey(model)[0]


def find_slots(model: nn.Module) -> list[Slot]:
    """Return every covered linear map of `model`.

    Raises:
        CoverageError: if there is none; the message says what was found instead.
    """
    infos, slots = _survey(model)
    if not slots:
        found = "; ".join(f"{i.name} ({i.kind}): {i.reason}" for i in infos[:6]) or "no layer with parameters"
        raise CoverageError(
            f"{type(model).__name__} has no layer that can hold an engram (Linear, Conv1D, convolutions, "
            f"MultiheadAttention, fused experts). Found: {found}."
        )
    return slots


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
    """Return the first number in a layer's path, which is its block; None without one."""
    return next((int(part) for part in name.split(".") if part.isdigit()), None)
