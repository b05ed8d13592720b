"""A second view that shows that a change acts before it is put in force on the first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.layers import LinearMap
from ..models.view import shared_copy
from .change import Change
from .input_edit import InputEdit, OutputEdit
from .installation import Products, route
from .placement import Placement
from .proof import known_to_act, remember, show_it_acts, still_layers, structure
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
    forms = [(slot, "weights") for slot in placement.weights]
    for edit, slots in products.values():
        forms += [(slot, "output" if isinstance(edit, OutputEdit) else "input") for slot in slots]
    built = structure(base)
    known = known_to_act(base, built)
    new = [(slot, form) for slot, form in forms if (slot.name, form) not in known]
    if not new:
        return None
    still_layers(base, [slot for slot, _ in new])
    view = shared_copy(base)
    for slot in placement.weights:
        write_matrix(view, slot, change.matrix(slot.name))
    edit_of: dict[str, InputEdit | OutputEdit] = {}
    for edit, slots in products.values():
        route(view, edit, slots)
        edit_of |= dict.fromkeys([slot.name for slot in slots], edit)

    def edited(slot: LinearMap, rows: Tensor) -> Tensor:
        return stacks.edited(slot.name, rows, change, edit_of[slot.name].weights)

    def recorded(slot: LinearMap) -> Tensor | None:
        for name in change.taken:
            trace = change.atlas.trace(slot.name, name)
            rows = trace.moment if trace.folded else trace.rows
            if rows.shape[-2]:
                return rows[0, :2, : slot.columns]
        return None

    # An input of what is taken away feels the edit; the others only leaks of it.
    probes = sorted(change.atlas.probes, key=lambda p: not any(name in change.taken for name in p.concepts))
    with torch.no_grad():
        show_it_acts(view, base, new, probes, edited, recorded)
    for edit, _ in products.values():
        if isinstance(edit, InputEdit):
            edit.memo = None
    remember(base, built, [(slot.name, form) for slot, form in new])
    return view
