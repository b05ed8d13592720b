"""Probes: a few recorded inputs, kept so that every edit can be shown to act in a real forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..concepts.batch import Batch
from ..concepts.row_owners import Owner
from ..models.linear_maps.linear import LinearMap
from ..models.packed_attention import open_attention
from ..models.view import device_of, shared_copy, submodule
from ..numerics.device import callers_device

__all__ = ["Probe", "ProbeKeeper", "probes_from", "probes_state"]

_ROOM = 4 << 20  # bytes of single inputs, beyond those that are needed to reach every layer
_WHOLE = 64 << 20  # bytes of a batch that cannot be cut
_ATOMS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Probe:
    """One call of the model, mostly with a single input.

    Attributes:
        concepts: whose input it is.
        args: positional arguments.
        kwargs: keyword arguments.
        needed: whether it is kept for the layers it reaches, whatever its concept.
    """

    concepts: tuple[str, ...]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    needed: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        sizes: list[int] = []
        _mapped((self.args, dict(self.kwargs)), lambda t: sizes.append(t.numel() * t.element_size()))
        return sum(sizes)

    def run(self, view: nn.Module) -> None:
        """Run a private view on this probe, in evaluation mode; it may write to its arguments."""
        view.eval()
        own = Batch(_mapped(self.args, torch.clone), _mapped(dict(self.kwargs), torch.clone), 1)
        own = own.to(device_of(view))
        with torch.no_grad(), callers_device():
            view(*own.args, **own.kwargs)


def _mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return a copy of nested arguments with every tensor changed; other objects are copied."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(_mapped(v, change) for v in value)
    if type(value) is dict:
        return {k: _mapped(v, change) for k, v in value.items()}
    return value if type(value) in _ATOMS else copy.deepcopy(value)


def _cut(batch: Batch, place: int | None, concepts: tuple[str, ...]) -> Probe | None:
    """Return one input of a batch, or all of it; None if its arguments cannot be copied."""

    def one(t: Tensor) -> Tensor:
        return t.detach().to("cpu", copy=True)

    try:
        alone = batch if place is None else batch.take(torch.tensor([place]))
        return Probe(concepts, _mapped(tuple(alone.args), one), _mapped(dict(alone.kwargs), one))
    except Exception:  # an argument of any class may refuse to be copied, in any way
        return None


class ProbeKeeper:
    """Keeps the first input of every concept, while room lasts, and what it takes to reach every layer.

    Args:
        groups: the names that owners stand for.
        base: the model.
        linear_maps: the layers that are listened to.
    """

    def __init__(self, groups: tuple[str, ...], base: nn.Module, linear_maps: Iterable[LinearMap]) -> None:
        self._groups = groups
        self._base = base
        self._linear_maps = [linear_map for linear_map in linear_maps if not linear_map.routed]
        self._kept: list[Probe] = []
        self._first: list[tuple[Probe | None, Probe | None, frozenset[str]]] = []
        self._known: set[int] = set()
        self._heard: set[str] = set()
        self._room = _ROOM
        self._waiting: Probe | None = None
        self._batch: Batch | None = None

    def before(self, batch: Batch, owner: int | Tensor | Owner) -> None:
        """Look at a batch that is about to run."""
        places = self._firsts(owner)
        self._waiting, self._batch = None, batch
        for place, group in places.items():
            probe = _cut(batch, place, (self._groups[group],))
            if probe is None:
                return
            if self._waiting is None:
                self._waiting = probe
            if group not in self._known and probe.nbytes <= self._room:
                self._known.add(group)
                self._room -= probe.nbytes
                self._kept.append(probe)

    def after(self, heard: Iterable[str]) -> None:
        """Take in which layers have been heard since the recording began."""
        new = frozenset(heard) - self._heard
        if new and self._batch is not None:
            self._heard |= new
            whole = _cut(self._batch, None, ()) if self._batch.size > 1 else None
            self._first.append((self._waiting, whole, new))
        self._waiting, self._batch = None, None

    def _firsts(self, owner: int | Tensor | Owner) -> dict[int, int]:
        """Return the first input of every concept in a batch that is not known yet, or the first of all."""
        if isinstance(owner, Owner):
            owner = owner.counted()
        if isinstance(owner, int):
            return {0: owner}
        of = owner if owner.ndim == 1 else owner.flatten(1).amax(1)
        found: dict[int, int] = {}
        for place, group in enumerate(of.tolist()):
            if group >= 0 and group not in found.values() and (group not in self._known or not found):
                found[place] = group
        return found

    def settle(self) -> tuple[Probe, ...]:
        """Return the probes that run, and that together reach every layer that was heard."""
        needed: list[Probe] = []
        cut = True
        for probe, whole, layers in self._first:
            wanted = {linear_map.name for linear_map in self._linear_maps} & layers
            if not wanted:
                continue
            if probe is not None and self._reached(probe) >= wanted:
                needed.append(replace(probe, needed=True))
            else:
                cut = False
                if whole is not None and whole.nbytes <= _WHOLE and self._reached(whole) >= wanted:
                    needed.append(replace(whole, needed=True))
        others = [p for p in self._kept if not any(p.concepts == n.concepts for n in needed)] if cut else []
        return (*needed, *others)

    def _reached(self, probe: Probe) -> set[str]:
        view, reached = shared_copy(self._base), set[str]()
        open_attention(view)
        for linear_map in self._linear_maps:
            name = linear_map.name
            submodule(view, linear_map.module).register_forward_pre_hook(lambda *_, n=name: reached.add(n))
        try:
            probe.run(view)
        except Exception:  # whatever a model raises on a single input where it wants a batch
            return set()
        return reached


# -- files ------------------------------------------------------------------------------------------------


def probes_state(probes: Iterable[Probe]) -> tuple[dict[str, Tensor], list[Any]]:
    """Return probes as tensors and JSON; those with arguments that JSON cannot hold are left out."""
    tensors: dict[str, Tensor] = {}
    described: list[Any] = []
    for probe in probes:
        mine: dict[str, Tensor] = {}
        try:
            described.append(
                {
                    "concepts": list(probe.concepts),
                    "args": _describe(probe.args, mine, len(described)),
                    "kwargs": _describe(dict(probe.kwargs), mine, len(described)),
                    "needed": probe.needed,
                }
            )
        except TypeError:
            continue
        tensors |= mine
    return tensors, described


def _describe(value: Any, tensors: dict[str, Tensor], number: int) -> Any:
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.is_quantized:
            raise TypeError("no plain tensor")
        name = f"probe.{number}.{len(tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_describe(v, tensors, number) for v in value]}
    if type(value) is dict and all(type(k) is str for k in value):
        return {"dict": {k: _describe(v, tensors, number) for k, v in value.items()}}
    if type(value) in _ATOMS and value == value and value not in (float("inf"), -float("inf")):
        return {"value": value}
    raise TypeError(f"{type(value).__name__} has no place in a file")


def probes_from(tensors: Mapping[str, Tensor], described: Iterable[Any]) -> tuple[Probe, ...]:
    """Return the probes that `probes_state` described.

    Raises:
        KeyError, TypeError: if something is missing or wrong.
    """
    return tuple(
        Probe(
            tuple(d["concepts"]), _restored(d["args"], tensors), _restored(d["kwargs"], tensors),
            bool(d["needed"]),
        )
        for d in described
    )  # fmt: skip


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        raise TypeError(f"{value!r} describes no argument")
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "value":
        return content
    if kind == "dict":
        return {k: _restored(v, tensors) for k, v in content.items()}
    items = [_restored(v, tensors) for v in content]
    return tuple(items) if kind == "tuple" else items
