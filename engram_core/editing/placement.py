"""Where an edit goes in every layer: into the weights, or into thin products beside them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from ..models.layers import LinearMap
from .change import Change

__all__ = ["Placement", "Source", "place"]

# Edits of this many weights or fewer (16 MB) go into the weights: in so small a model the calls of the thin
# products, not their arithmetic, would be a fifth of the time per token, and new weights take a millisecond.
_SMALL_EDIT = 1 << 22

Source = tuple[Hashable, float]
"""The rows that layers read, and the factor of the edit in them."""


@dataclass(frozen=True)
class Placement:
    """How a change is made in every layer.

    Attributes:
        weights: layers whose weights are replaced.
        products: layers that are edited by thin products, by what they share.
        form: equal for two changes that differ in nothing but the weights of their rows.
    """

    weights: list[LinearMap]
    products: dict[Source, list[LinearMap]]
    form: Hashable


def place(change: Change, fused: tuple[str, ...] = ()) -> Placement:
    """Decide how a change is made.

    Args:
        change: what is to be done.
        fused: beginnings of the names of layers that a fused forward reads past their modules.

    Returns:
        Which weights are replaced, and which layers get thin products.
    """
    atlas = change.atlas
    shared: dict[Source, list[LinearMap]] = {}
    for layer in change.layers:
        if change.factors[layer] or not change.keeps:
            source = (atlas.source_key(layer), change.factors[layer])
            shared.setdefault(source, []).append(atlas.linear_map(layer))
    held = [
        linear_map.outputs * linear_map.width for linear_maps in shared.values() for linear_map in linear_maps
    ]
    small = sum(held) <= _SMALL_EDIT
    weights: list[LinearMap] = []
    products: dict[Source, list[LinearMap]] = {}
    for source, linear_maps in shared.items():
        # Thin products act on what a layer reads, so that they take parts of the whole weight alone.
        whole = atlas.pretrained is not None or (small and not linear_maps[0].routed)
        replaced = linear_maps if whole else _replaced(change, linear_maps, fused)
        if change.taken:  # what is quantised is edited at its input, whatever the number of rows
            replaced = [linear_map for linear_map in replaced if not linear_map.opaque]
        weights += replaced
        rest = [linear_map for linear_map in linear_maps if linear_map not in replaced]
        if rest:
            products[source] = rest
    return Placement(weights, products, (tuple(shared), change.layers, change.keeps, tuple(change.taken)))


def _replaced(change: Change, linear_maps: list[LinearMap], fused: tuple[str, ...]) -> list[LinearMap]:
    """Return those of the layers with one input whose weights are to be replaced."""
    traces = [change.atlas.trace(linear_maps[0].name, concept) for concept in change.taken]
    if not traces or any(trace.folded for trace in traces):
        return linear_maps
    free = [s for s in linear_maps if not (s.dense_only or s.module.startswith(fused))]
    # Rows and duals against the matrices: the smaller form is also the cheaper one to apply.
    if 2 * sum(trace.rows.shape[-2] for trace in traces) >= sum(linear_map.outputs for linear_map in free):
        return linear_maps
    return [linear_map for linear_map in linear_maps if linear_map not in free]
