"""Edit a model without touching it: which memories are off, on a view beside the base."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import DataError, EngramError, suggest
from ..models.identity import counters
from ..models.view import base_of, independent_copy, shared_copy, walk
from ..numerics.precision import exactly, exactly_all
from ..progress import Progress
from .bake import baked
from .change import Change, LayerFactors
from .edit import Edit, EditReport
from .input_edit import InputEdit, OutputEdit
from .installation import Installation
from .placement import Source, place
from .protection import protect
from .stacks import Stacks
from .witness import witness

if TYPE_CHECKING:
    from ..atlas import Atlas

__all__ = ["LiveEdit", "apply_edit", "bake", "live_edit"]


@exactly_all
class LiveEdit:
    """The edit that is in force on a view; change it, switch it off and on, read what it does.

    Layers whose engrams are pairs of few rows are edited at their input (see `input_edit`), where a strength
    is a scalar; the others get a combined weight.

    Attributes:
        atlas: the engrams.
    """

    def __init__(self, atlas: Atlas, view: nn.Module, edit: Edit):
        self.atlas = atlas
        self._view = view
        self._edit = edit
        self._on = True
        self._only: frozenset[str] | None = None
        self._factors = LayerFactors(atlas)
        self._stacks = Stacks(atlas)
        self._installation = Installation(view)
        self._counters = counters(base_of(view))  # of the base when it was last known to be the recorded one
        # The fused path of these never calls the layers inside, and takes nested tensors that hooks break.
        self._fused = tuple(
            f"{name}." if name else ""
            for name, module in walk(base_of(view))
            if isinstance(module, nn.TransformerEncoderLayer)
        )
        self._install()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Copies and pickles of a view would be cut off from the base that its undo relies on.
        raise EngramError(
            "An edited view cannot be copied or pickled: it is a window on its base model. "
            "Use bake() for a module of its own, or call atlas.apply() again."
        )

    # -- what visitors do -----------------------------------------------------------------------

    @property
    def edit(self) -> Edit:
        """The edit as data."""
        return self._edit

    @property
    def on(self) -> bool:
        """Whether the view differs from the base now."""
        return self._on and self._edit.changes

    def set(self, edit: Edit | None = None, **changes: Any) -> LiveEdit:
        """Put another edit in force: an `Edit`, or keyword arguments of `Edit.of` that differ.

        Nothing is solved and no model is copied.

        Returns:
            This edit.
        """
        if edit is None:
            now = self._edit
            options: dict[str, Any] = {
                "erase": dict(now.erase),
                "keep": None if now.keep is None else dict(now.keep),
                "null": now.null,
                "scaling": now.scaling,
                "adaptive_power": now.adaptive_power,
            }
            edit = Edit.of(self.atlas, **(options | changes))
            if not {"layers", "blocks"} & set(changes):
                # Taken over as they are: selecting by name once more could match others with that suffix.
                edit = replace(edit, layers=now.layers)
        return self._put(edit, None)

    def off(self) -> LiveEdit:
        """Make the view compute exactly what the base computes."""
        self._on = False
        self._install()
        return self

    def turn_on(self) -> LiveEdit:
        """Put the edit in force again."""
        self._still_recorded()
        self._on = True
        self._install()
        return self

    def only(self, layers: Iterable[str] | None) -> LiveEdit:
        """Put the edit in force in some of its layers alone, as it is in the whole; None for all of them.

        Unlike another choice of layers in the edit itself, this leaves adaptive factors as they are.

        Returns:
            This edit.

        Raises:
            UnknownNameError: for a layer that the edit does not act on.
        """
        if layers is not None:
            chosen = list(layers)
            for name in chosen:
                if name not in self._edit.layers:
                    raise suggest("layer of this edit", name, self._edit.layers)
            return self._put(self._edit, frozenset(chosen))
        return self._put(self._edit, None)

    def report(self) -> EditReport:
        """Return what is on, with the size of the change in every layer.

        Raises:
            ModelMismatchError: if the base's weights were changed since it was recorded.
        """
        kept = None if self._edit.keep is None else tuple(name for name, _ in self._edit.keep)
        if not self.on:
            return EditReport(False, {}, kept, (), 0.0, {}, {})
        self._still_recorded()
        now = self._change()
        per_layer: dict[str, float] = {}
        changed = whole = 0.0
        for layer in now.layers:
            size, delta = self.atlas.weight_norm(layer), now.size(layer)
            per_layer[layer] = delta / size if size else 0.0
            changed, whole = changed + delta**2, whole + size**2
        shown = dict(self._edit.erase) if self._edit.from_nothing else now.taken
        return EditReport(
            True, shown, kept, now.layers, math.sqrt(changed / whole) if whole else 0.0, per_layer,
            now.factors,
        )  # fmt: skip

    def bake(self, *, progress: Progress | None = None) -> nn.Module:
        """Return a plain module with the edited weights: float32 arithmetic, rounded once.

        A layer whose weight was computed (a parametrisation, an adapter) is a plain layer in it, if it is
        edited; the others stay as they are.

        Args:
            progress: called with (done, total, layer) after every layer.

        Raises:
            CoverageError: if an edited layer is quantised, so that no weight can be written into it.
            ModelMismatchError: if the base's weights were changed since it was recorded.
        """
        base = base_of(self._view)
        if not self.on:
            return independent_copy(base)
        self.atlas.identity.check(base)
        return baked(base, self._change(), progress=progress)

    # -- how it is done -------------------------------------------------------------------------

    @property
    def _inputs(self) -> Mapping[Source, InputEdit | OutputEdit]:
        """The thin products in force."""
        return self._installation.products

    def _change(self) -> Change:
        """Return what the edit comes to, whether it is on or off."""
        edit = self._edit
        taken = edit.taken(self.atlas.concepts)
        layers = edit.layers
        if self._only is not None:
            layers = tuple(name for name in layers if name in self._only)
        return Change(self.atlas, layers, taken, self._factors.factors(edit, taken), not edit.from_nothing)

    def _still_recorded(self) -> None:
        """Raise ModelMismatchError if the base was trained or loaded since it was recorded."""
        base = base_of(self._view)
        now = counters(base)
        if now != self._counters:
            self.atlas.identity.check(base)
            self._counters = now

    def _put(self, edit: Edit, only: frozenset[str] | None) -> LiveEdit:
        """Put an edit in force, or leave everything as it was if it cannot be shown to act."""
        self._still_recorded()
        before = self._edit, self._only, self._on
        self._edit, self._only, self._on = edit, only, True
        try:
            self._install()
        except EngramError:
            self._edit, self._only, self._on = before
            raise
        return self

    def _install(self) -> None:
        if not self.on or not (now := self._change()).acts:
            self._installation.remove()
            return
        placement = place(now, self._fused)
        if placement.form == self._installation.form and not placement.weights:
            for source, product in self._installation.products.items():
                product.weights = self._stacks.weights(placement.products[source][0].name, now)
            return
        products = {
            source: (made, linear_maps)
            for source, linear_maps in placement.products.items()
            if (made := self._stacks.product(linear_maps, now)) is not None
        }
        shown = witness(base_of(self._view), now, placement, products, self._stacks)
        self._installation.put(now, placement, products, shown)


@exactly
def apply_edit(atlas: Atlas, edit: Edit, model: nn.Module | None = None) -> nn.Module:
    """Return a view of `model` with `edit` in force; `live_edit(view)` controls it.

    The view is there to be run. Parameters that it does not edit are the base's own: what would convert, load
    or freeze them is refused (see `protection`), and an optimizer, or a write through ``.data``, would train
    or write the base. `bake` gives a model to do that with.
    """
    base = base_of(atlas.model if model is None else model)
    atlas.identity.check(base)
    view = shared_copy(base)
    object.__setattr__(view, "engram_edit", LiveEdit(atlas, view, edit))
    protect(view)
    return view


def live_edit(view: nn.Module) -> LiveEdit:
    """Return the control of an edited view."""
    control = getattr(view, "engram_edit", None)
    if not isinstance(control, LiveEdit):
        raise DataError(f"This {type(view).__name__} is not an edited view; make one with atlas.apply().")
    return control


def bake(view: nn.Module) -> nn.Module:
    """Return a plain module with the edited weights of a view (see `LiveEdit.bake`)."""
    return live_edit(view).bake()
