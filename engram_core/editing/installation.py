"""What a view has in place of its base's layers: parameters of its own, forwards through thin products."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from torch import nn

from ..models.layers import LinearMap
from ..models.linear_maps.expert_ports import close_experts
from ..models.view import base_of, refresh, submodule
from .change import Change
from .input_edit import InputEdit, OutputEdit, edit_forward, restore_forward
from .placement import Placement, Source
from .weights import adopt_weights, restore_weights, write_matrix

__all__ = ["Installation", "Products", "route"]

Products = Mapping[Source, tuple[InputEdit | OutputEdit, list[LinearMap]]]
"""Thin products, and the layers that compute through each."""


class Installation:
    """What is installed on one view.

    Attributes:
        products: the thin products in force.
        form: of the placement in force, see `Placement`; None if nothing is installed.
    """

    def __init__(self, view: nn.Module):
        self._view = view
        self.products: dict[Source, InputEdit | OutputEdit] = {}
        self.form: Hashable = None
        self._routed: list[nn.Module] = []  # whose forward the view has replaced
        self._written: list[LinearMap] = []  # whose parameters the view has replaced

    def put(self, change: Change, placement: Placement, products: Products, other: nn.Module | None) -> None:
        """Put a change in the place of what is installed.

        Args:
            change: what is to be done.
            placement: how.
            products: the edits of the layers that are edited by products.
            other: another view that holds the very weights, to take them from.
        """
        self._clear()
        for linear_map in placement.weights:
            self._written.append(linear_map)
            if other is None or not adopt_weights(self._view, other, linear_map):
                write_matrix(self._view, linear_map, change.matrix(linear_map.name))
        for source, (edit, linear_maps) in products.items():
            self.products[source] = edit
            self._routed += route(self._view, edit, linear_maps)
        self.form = placement.form

    def remove(self) -> None:
        """Make the view compute what the base does."""
        self._clear()
        close_experts(self._view)
        refresh(self._view)

    def _clear(self) -> None:
        for module in self._routed:
            restore_forward(module)
        for linear_map in self._written:
            restore_weights(self._view, base_of(self._view), linear_map)
        self._routed, self._written, self.products, self.form = [], [], {}, None


def route(view: nn.Module, edit: InputEdit | OutputEdit, linear_maps: Sequence[LinearMap]) -> list[nn.Module]:
    """Let the layers of a view compute through an edit; return their modules."""
    modules = []
    for linear_map in linear_maps:
        linear_map.open(view)
        module = submodule(view, linear_map.port)
        edit_forward(module, linear_map, edit, last=linear_map is linear_maps[-1])
        modules.append(module)
    return modules
