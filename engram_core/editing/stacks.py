"""Rows and duals of several concepts side by side, and the thin products that edit layers with them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.layers import LinearMap
from ..solving.solved import SolvedAtlas
from .change import Change
from .input_edit import InputEdit, OutputEdit

__all__ = ["Stacks"]


@dataclass(frozen=True)
class _Stack:
    """Rows and duals of several concepts in one source, side by side."""

    rows: Tensor  # (r, D)
    duals: Tensor  # (r, D)
    spans: dict[str, slice]
    mu: Tensor | None  # (r,)


class Stacks:
    """The rows and duals of concepts that a view has edited, by source; none is stacked twice."""

    def __init__(self, atlas: SolvedAtlas):
        self._atlas = atlas
        self._stacks: dict[Hashable, _Stack] = {}

    def product(self, linear_maps: Sequence[LinearMap], change: Change) -> InputEdit | OutputEdit | None:
        """Return the edit of layers at the input they share, or of one with few outputs at its output.

        Args:
            linear_maps: layers that read one source and have one factor.
            change: what is to be done.

        Returns:
            The edit, or None if none of these concepts ever reached these layers.
        """
        first = linear_maps[0]
        stack = self._stack(first.name, change.taken)
        names = [name for name in stack.spans if name in change.taken]
        spans = [stack.spans[name] for name in names]
        columns = first.columns
        if change.keeps and not any(span.stop > span.start for span in spans):
            return None
        weights = self.weights(first.name, change)
        duals = _picked(stack.duals, spans)
        if len(linear_maps) == 1 and first.outputs < columns and not first.opaque:
            left = _joined(
                [self._atlas.left(first.name, name, stack.rows[stack.spans[name]]) for name in names]
            )
            return OutputEdit(left, duals, weights, columns=columns, keeps=change.keeps)
        rows = _picked(stack.rows, spans)
        return InputEdit(rows, duals, weights, columns=columns, keeps=change.keeps, members=len(linear_maps))

    def weights(self, layer: str, change: Change) -> Tensor | float:
        """Return the weight of every row of the concepts that are on, (r,); a number if all have one."""
        stack, taken, factor = self._stack(layer, change.taken), change.taken, change.factors[layer]
        names = [name for name in stack.spans if name in taken]
        if stack.mu is None and len({taken[name] for name in names}) == 1:
            return factor * taken[names[0]]
        parts = []
        for name in names:
            span = stack.spans[name]
            if stack.mu is None:
                parts.append(stack.rows.new_full((span.stop - span.start,), factor * taken[name]))
            else:
                weights = self._atlas.sharpness.weights(stack.mu[span], taken[name])
                parts.append(factor * weights.to(stack.rows))
        return _joined(parts)

    def edited(self, layer: str, x: Tensor, change: Change, weights: Tensor | float) -> Tensor:
        """Return ``w₀ x − Fᵀ diag(w) R x`` of rows `x` with their bias column, (rows, D)."""
        stack = self._stack(layer, change.taken)
        spans = [stack.spans[name] for name in stack.spans if name in change.taken]
        duals, rows = _picked(stack.duals, spans).to(x), _picked(stack.rows, spans).to(x)
        share = (x @ duals.mT) * (weights if isinstance(weights, float) else weights.to(x))
        return (x if change.keeps else 0.0) - share @ rows

    def _stack(self, layer: str, taken: Mapping[str, float]) -> _Stack:
        key = self._atlas.source_key(layer)
        stack = self._stacks.get(key)
        if stack is not None and all(name in stack.spans for name in taken):
            return stack
        parts, spans, start = [], {}, 0
        names = dict.fromkeys([*(stack.spans if stack is not None else ()), *taken])
        for name in names:
            rows, duals, mu = self._atlas.trace(layer, name).pair(self._atlas.sharpness)
            parts.append((rows[0], duals[0], None if mu is None else mu[0]))
            spans[name] = slice(start, start + rows.shape[-2])
            start += rows.shape[-2]
        mus = [mu for *_, mu in parts if mu is not None]
        stack = _Stack(
            _joined([rows for rows, *_ in parts]), _joined([duals for _, duals, _ in parts]), spans,
            _joined(mus) if mus else None,
        )  # fmt: skip
        self._stacks[key] = stack
        return stack


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))  # a single one needs no copy


def _picked(tensor: Tensor, spans: Sequence[slice]) -> Tensor:
    """Return the rows of some spans: a concept that is off costs nothing."""
    if all(one.stop == two.start for one, two in zip(spans, spans[1:], strict=False)):
        return tensor[spans[0].start : spans[-1].stop]  # neighbours need no copy
    return torch.cat([tensor[span] for span in spans])
