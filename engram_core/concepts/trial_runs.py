"""Find out on the model itself what its inputs are: along which dimension they lie, and who reads them.

Sizes say nothing: 300 may be pictures, positions or nodes. So a few inputs are run together and apart. What
may be divided gives every layer the same rows either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import EngramError
from ..models.layers import LinearMap, find_linear_maps
from ..models.linear_maps.experts import open_experts
from ..models.packed_attention import open_attention
from ..models.ports import hear_ports
from ..models.unwritten import Unwritten
from ..models.view import base_of, shared_copy
from ..numerics.device import callers_device
from .batch import Batch, Cut
from .inputs import MODEL_ERRORS

__all__ = ["Call", "Heard", "Prober"]

_FEW, _FIRST = 8, 3  # inputs that are tried together, and how many of them make the first part
# Rows of one input differ by rounding when it runs in other company: by this share of their size at most.
_ALIKE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Call:
    """One call of a layer: the shape that indexes its rows, and two numbers that stand for each row."""

    positions: tuple[int, ...]
    marks: Tensor
    """(…, 2) float64; of a convolution, one for every place of its input instead."""
    rounding: float = 1e-3
    """By which share of their size rows of one input may differ that were computed in other company."""


Heard = dict[str, list[Call]]
"""The calls of every layer in one pass."""


class Prober:
    """A view of a model that is run on a few inputs to hear what its layers read.

    Attributes:
        blocks: for every expert, the block it belongs to.
    """

    def __init__(self, model: nn.Module):
        base = base_of(model)
        self._linear_maps = find_linear_maps(base)
        self._view = shared_copy(base)
        open_attention(self._view)
        open_experts(self._view, self._linear_maps)
        self._view.eval()
        self._unwritten = Unwritten(self._view, base)
        self._place = next((p.device for p in base.parameters()), torch.device("cpu"))
        self._heard: Heard = {}
        self.blocks = {
            linear_map.name: linear_map.module for linear_map in self._linear_maps if linear_map.routed
        }
        hear_ports(self._view, self._linear_maps, self._hear, strict=False)

    def _hear(self, linear_map: LinearMap, x: Tensor, others: tuple[Any, ...]) -> None:
        positions = (int(others[1]),) if linear_map.routed else linear_map.positions(x)
        self._heard.setdefault(linear_map.name, []).append(
            Call(positions, _marks(linear_map, x), _ALIKE.get(x.dtype, 1e-3))
        )

    def run(self, batch: Batch, *, seed: int = 0) -> Heard | None:
        """Return what the layers read, or None if the model cannot run these inputs.

        Args:
            batch: the inputs.
            seed: of torch, for models that draw.
        """
        self._heard = {}
        devices = [self._place] if self._place.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices), torch.no_grad():
                torch.manual_seed(seed)
                call = batch.to(self._place).unshared()
                with self._unwritten, callers_device():
                    self._view(*call.args, **call.kwargs)
        except (*MODEL_ERRORS, EngramError):
            return None
        return self._heard

    def may_cut(self, batch: Batch, cut: Cut) -> bool | None:
        """Return whether a few inputs give the same rows together and apart; None if they fail together.

        Args:
            batch: the inputs.
            cut: how they would be divided.
        """
        tried = replace(batch, cut=cut)
        size = tried.leading()[1].shape[cut.axis or 0]
        if not size:
            return None
        few = (
            torch.linspace(0, size - 1, min(size, _FEW)).round().long() if size > 1 else torch.zeros(2).long()
        )
        together = self.run(tried.take(few))
        if together is None:
            return None
        first = min(_FIRST, len(few) - 1)
        parts = [self.run(tried.take(index)) for index in (few[:first], few[first:])]
        if any(part is None for part in parts):
            return False
        # Learned queries are the same in every part. So are the rows of an argument that goes along whole,
        # which would count once in every part.
        every = all(key in (cut.along or ()) for key, v in batch.items() if isinstance(v, Tensor))
        if _alike(together, parts, constant=every):
            return True
        again = self.run(tried.take(few), seed=1)
        # What differs from itself tells nothing against it: such a model draws at random, or keeps a state.
        return again is not None and not _alike(together, [again])

    def same(self, one: Batch, other: Batch) -> bool:
        """Return whether two calls give every layer the same rows.

        Args:
            one: calls of one pass.
            other: calls of another.
        """
        first = self.run(one)
        second = None if first is None else self.run(other)
        return first is not None and second is not None and _alike(first, [second])


def _marks(linear_map: LinearMap, x: Tensor) -> Tensor:
    """Return two numbers for every row of a layer's input (for every place, where rows are patches)."""
    places = len(getattr(getattr(linear_map, "inner", linear_map), "kernel", ()))
    x = x.detach().movedim(x.ndim - 1 - places, -1)
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(x.shape[-1], 2, generator=generator, dtype=torch.float64)
    return (
        (x.to(kind) @ directions.to(x.device, kind)).double().cpu() if x.is_floating_point() else x.double()
    )


def _alike(whole: Heard, parts: list[Any], *, constant: bool = False) -> bool:
    """Whether the parts together hold the rows of the whole, in any order, or each one all of a constant."""
    for name in whole.keys() | {name for part in parts for name in part}:
        together, apart = whole.get(name, []), [c for part in parts for c in part.get(name, [])]
        if not together or not apart:
            return False
        rounding = together[0].rounding
        left, right = (
            torch.cat([c.marks.reshape(-1, c.marks.shape[-1]) for c in calls]) for calls in (together, apart)
        )
        if constant and _constant(together, [part.get(name, []) for part in parts]):
            continue
        if left.shape != right.shape:
            # In half precision a router's choice may turn on rounding: a few rows more or less say nothing.
            if rounding < _ALIKE[torch.float16] or abs(len(left) - len(right)) > len(left) / 4:
                return False
        elif not (left.sort(0).values - right.sort(0).values).norm() <= rounding * left.norm():
            return False
    return True


def _constant(whole: list[Call], parts: list[list[Call]]) -> bool:
    """Whether a layer reads the same whatever the inputs are, as learned queries do."""
    return all(
        len(part) == len(whole)
        and all(
            a.marks.shape == b.marks.shape and (a.marks - b.marks).norm() <= 1e-9 * a.marks.norm()
            for a, b in zip(whole, part, strict=True)
        )
        for part in parts
    )


# -- the decision ----------------------------------------------------------------------------------
