"""A second view that shows that a change acts before it is put in force on the first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.layers import LinearMap
from ..models.view import shared_copy
from .change import Change
from .input_edit import InputEdit, OutputEdit
from .installation import Products, route
from .known_effects import known_to_act, remember, still_layers, structure
from .placement import Placement
from .proof import show_it_acts
from .stacks import Stacks
from .weights import write_matrix

__all__ = ["witness"]


def witness(
    base: nn.Module, change: Change, placement: Placement, products: Products, stacks: Stacks
) -> nn.Module | None:
    """Show on a view of its own that a change acts, unless that is known of every layer in this form.

    Args:
        base: the model.
        change: what is to be done.
        placement: how.
        products: the edits of the layers that are edited by products.
        stacks: the rows and duals they are made of.

    Returns:
        The view, which holds the edited weights; None if there was nothing to be shown.

    Raises:
        EffectError: if a layer does not answer as its edited map does.
    """
    forms = [(linear_map, "weights") for linear_map in placement.weights]
    for edit, linear_maps in products.values():
        forms += [
            (linear_map, "output" if isinstance(edit, OutputEdit) else "input") for linear_map in linear_maps
        ]
    built = structure(base)
    known = known_to_act(base, built)
    new = [(linear_map, form) for linear_map, form in forms if (linear_map.name, form) not in known]
    if not new:
        return None
    still_layers(base, [linear_map for linear_map, _ in new])
    view = shared_copy(base)
    for linear_map in placement.weights:
        write_matrix(view, linear_map, change.matrix(linear_map.name))
    edit_of: dict[str, InputEdit | OutputEdit] = {}
    for edit, linear_maps in products.values():
        route(view, edit, linear_maps)
        edit_of |= dict.fromkeys([linear_map.name for linear_map in linear_maps], edit)

    def edited(linear_map: LinearMap, rows: Tensor) -> Tensor:
        return stacks.edited(linear_map.name, rows, change, edit_of[linear_map.name].weights)

    def recorded(linear_map: LinearMap) -> Tensor | None:
        for name in change.taken:
            trace = change.atlas.trace(linear_map.name, name)
            rows = trace.moment if trace.folded else trace.rows
            if rows.shape[-2]:
                return rows[0, :2, : linear_map.columns]
        return None

    # An input of what is taken away feels the edit; the others only leaks of it.
    probes = sorted(change.atlas.probes, key=lambda p: not any(name in change.taken for name in p.concepts))
    with torch.no_grad():
        show_it_acts(view, base, new, probes, edited, recorded)
    for edit, _ in products.values():
        if isinstance(edit, InputEdit):
            edit.memo = None
    remember(base, built, [(linear_map.name, form) for linear_map, form in new])
    return view
