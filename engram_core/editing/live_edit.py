"""Edit a model without touching it: which memories are off, on a view beside the base.

Every edit has the form ``W' = w₀ W − Σ_c s_c f_l E_c``: erasing has ``w₀ = 1`` and ``s_c = α_c``; keeping
from nothing has ``w₀ = 0`` and ``s_c = −1``; keeping in place erases all the others
(docs/science.md section 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..atlas import Atlas, Engram, engram_matrix
from ..errors import DataError, EngramError, suggest
from ..models.identity import counters
from ..models.layers import LinearMap
from ..models.linear_maps.experts import close_experts
from ..models.view import base_of, own_copy, own_parameter, refresh, shared_copy, submodule, walk
from ..numerics.precision import exactly, exactly_all
from ..progress import Progress
from .input_edit import InputEdit, OutputEdit, edit_forward, restore_forward
from .proof import known_to_act, remember, show_it_acts, still_layers, structure
from .protection import protect

__all__ = [
    "Edit",
    "EditReport",
    "LiveEdit",
    "Scaling",
    "apply_edit",
    "bake",
    "edit_sizes",
    "layer_factors",
    "live_edit",
    "write_matrix",
]

Scaling = Literal["plain", "adaptive"]

# Edits of this many weights or fewer (16 MB) go into the weights: in so small a model the calls of the thin
# products, not their arithmetic, would be a fifth of the time per token, and new weights take a millisecond.
_SMALL_EDIT = 1 << 22


@dataclass(frozen=True)
class Edit:
    """What is to be done to a model: pure data, the same for every model of one atlas.

    Attributes:
        erase: concept and strength α; 1 is the engram itself, negative amplifies.
        keep: concept and strength of those that stay, or None to keep everything.
        null: what "keep" starts from: ``"nothing"`` (every chosen layer holds the kept concepts alone)
            or ``"in place"`` (everything that is no concept stays too).
        scaling: ``"plain"`` or ``"adaptive"``, ``f_l = (rel_l / max rel)^p`` with ``rel = ‖E‖/‖W‖``.
        adaptive_power: that p.
        layers: the layers it acts on.
    """

    erase: tuple[tuple[str, float], ...]
    keep: tuple[tuple[str, float], ...] | None
    null: Literal["nothing", "in place"]
    scaling: Scaling
    adaptive_power: float
    layers: tuple[str, ...]

    @classmethod
    def of(
        cls,
        atlas: Atlas,
        *,
        erase: Mapping[str, float] | Iterable[str] | str | None = None,
        keep: Mapping[str, float] | Iterable[str] | str | None = None,
        null: str = "nothing",
        scaling: str = "plain",
        adaptive_power: float = 1.0,
        layers: str | Iterable[str] | None = None,
        blocks: Iterable[int] | None = None,
    ) -> Edit:
        """Check every name and number against `atlas` and build the edit.

        Raises:
            UnknownNameError: for a concept or layer that the atlas does not have.
            DataError: for a strength that is not a finite number, or an unknown null or scaling.
        """
        if null not in ("nothing", "in place"):
            raise DataError(f"null must be 'nothing' or 'in place'; found {null!r}.")
        if scaling not in ("plain", "adaptive"):
            raise DataError(f"scaling must be 'plain' or 'adaptive'; found {scaling!r}.")
        if not math.isfinite(adaptive_power) or adaptive_power < 0:
            raise DataError(f"The power of adaptive scaling must be 0 or more; found {adaptive_power}.")
        kept = None if keep is None else _strengths(atlas, keep)
        if kept is not None and not kept:
            raise DataError("keep names no concept; leave it out to keep everything.")
        if scaling == "adaptive" and kept is not None and null == "nothing":
            raise DataError(
                "Adaptive scaling weighs what is taken away, layer by layer; keeping from nothing takes "
                "everything away. Use scaling='plain', or null='in place'."
            )
        return cls(
            _strengths(atlas, erase or ()), kept, null, scaling, float(adaptive_power),  # type: ignore[arg-type]
            tuple(atlas.select(layers, blocks)),
        )  # fmt: skip

    @property
    def from_nothing(self) -> bool:
        """Whether the chosen layers start empty."""
        return self.keep is not None and self.null == "nothing"

    def taken(self, concepts: Iterable[str]) -> dict[str, float]:
        """Return ``s_c`` for every concept that the edit takes away (negative: adds)."""
        taken: dict[str, float] = {}
        if self.keep is not None:
            kept = dict(self.keep)
            for name in concepts:
                share = (0.0 if self.null == "nothing" else 1.0) - kept.get(name, 0.0)
                if share:
                    taken[name] = share
        for name, strength in self.erase:
            taken[name] = taken.get(name, 0.0) + strength
        return {name: s for name, s in taken.items() if s}

    @property
    def changes(self) -> bool:
        """Whether it does anything at all."""
        return self.keep is not None or any(strength for _, strength in self.erase)


def _strengths(
    atlas: Atlas, given: Mapping[str, float] | Iterable[str] | str
) -> tuple[tuple[str, float], ...]:
    if isinstance(given, str):
        given = {given: 1.0}
    elif not isinstance(given, Mapping):
        given = dict.fromkeys(given, 1.0)
    pairs = []
    for name, strength in given.items():
        if name not in atlas.concepts:
            raise suggest("concept", name, atlas.concepts)
        try:
            value = float(strength)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"The strength of concept {name!r} must be a finite number; found {strength!r}.")
        pairs.append((name, value))
    return tuple(pairs)


@dataclass(frozen=True)
class EditReport:
    """The proof of what is on.

    Attributes:
        on: whether the view differs from the base.
        erased: concept → strength taken away (for keeping in place: every concept not kept).
        kept: the kept concepts, or None.
        layers: the layers whose maps are changed.
        relative: ``‖W − W'‖ / ‖W‖`` over those layers together.
        per_layer: the same for each layer.
        factors: f_l of each layer.
    """

    on: bool
    erased: dict[str, float]
    kept: tuple[str, ...] | None
    layers: tuple[str, ...]
    relative: float
    per_layer: dict[str, float]
    factors: dict[str, float]


@dataclass
class _Stack:
    """Rows and duals of several concepts in one source, side by side."""

    rows: Tensor  # (r, D)
    duals: Tensor  # (r, D)
    spans: dict[str, slice]
    mu: Tensor | None  # (r,)


@exactly_all
class LiveEdit:
    """The edit that is in force on a view; change it, switch it off and on, read what it does.

    Layers whose engrams are pairs of few rows are edited at their input (see `input_edit`), where a strength
    is a scalar; the others get a combined weight.
    """

    def __init__(self, atlas: Atlas, view: nn.Module, edit: Edit):
        self.atlas = atlas
        self._view = view
        self._edit = edit
        self._on = True
        self._only: frozenset[str] | None = None
        self._scaled: tuple[Any, dict[str, float]] | None = None  # the last adaptive factors, and of what
        self._stacks: dict[Any, _Stack] = {}
        self._inputs: dict[tuple[Any, ...], InputEdit | OutputEdit] = {}
        self._routed: list[nn.Module] = []  # whose forward the view has replaced
        self._structure: Any = None  # of what is installed: all but the weights of the rows
        self._written: list[LinearMap] = []  # whose parameters the view has replaced
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
        if not self.on:
            kept = None if self._edit.keep is None else tuple(n for n, _ in self._edit.keep)
            return EditReport(False, {}, kept, (), 0.0, {}, {})
        self._still_recorded()
        taken = self._edit.taken(self.atlas.concepts)
        factors = self._factors(taken)
        per_layer: dict[str, float] = {}
        changed = whole = 0.0
        for layer in self._layers:
            size = self.atlas.weight_norm(layer)
            delta = abs(factors[layer]) * self._delta_norm(layer, taken)
            per_layer[layer] = delta / size if size else 0.0
            changed, whole = changed + delta**2, whole + size**2
        shown = taken if not self._edit.from_nothing else dict(self._edit.erase)
        kept = None if self._edit.keep is None else tuple(n for n, _ in self._edit.keep)
        return EditReport(
            True, shown, kept, self._layers, math.sqrt(changed / whole) if whole else 0.0,
            per_layer, factors,
        )  # fmt: skip

    def bake(self, *, progress: Progress | None = None) -> nn.Module:
        """Return a plain module with the edited weights: float32 arithmetic, rounded once.

        A layer whose weight was computed (a parametrisation, an adapter) is a plain layer in it, if it is
        edited; the others stay as they are.

        Args:
            progress: called with (done, total, layer) after every layer.

        Raises:
            CoverageError: if an edited layer is quantised, so that no weight can be written into it.
        """
        if self.on:
            self.atlas.identity.check(base_of(self._view))
            for layer in self._layers:
                self.atlas.slot(layer).check_bake(base_of(self._view))
        baked = own_copy(base_of(self._view))
        if not self.on:
            return baked
        taken = self._edit.taken(self.atlas.concepts)
        factors = self._factors(taken)
        for done, layer in enumerate(self._layers, start=1):
            write_matrix(
                baked, self.atlas.slot(layer), self.edited_matrix(layer, taken, factors[layer]), own=True
            )
            if progress is not None:
                progress(done, len(self._layers), layer)
        return baked

    # -- how it is done -------------------------------------------------------------------------

    @property
    def _layers(self) -> tuple[str, ...]:
        chosen = self._edit.layers
        return chosen if self._only is None else tuple(name for name in chosen if name in self._only)

    def _factors(self, taken: Mapping[str, float]) -> dict[str, float]:
        """Return `layer_factors`; every strength times one number leaves them as they are."""
        edit = self._edit
        if edit.scaling == "plain" or not taken:
            return dict.fromkeys(edit.layers, 1.0)
        unit = 1.0 if self.atlas.sharpness.clip else max(abs(strength) for strength in taken.values())
        shares = tuple((name, strength / unit) for name, strength in taken.items())
        key = (edit.layers, edit.adaptive_power, shares)
        if self._scaled is None or self._scaled[0] != key:
            self._scaled = (key, layer_factors(self.atlas, edit))
        return dict(self._scaled[1])

    def edited_matrix(self, layer: str, taken: Mapping[str, float], factor: float) -> Tensor:
        """Return ``W' = w₀ W − f Σ s E`` of a layer, (groups, out, D), float32 or float64."""
        matrix = self.atlas.matrix(layer)
        edited = torch.zeros_like(matrix) if self._edit.from_nothing else matrix.clone()
        for concept, strength in taken.items():
            trace = self.atlas.trace(layer, concept)
            if trace.folded or 2 * trace.rows.shape[-2] >= min(matrix.shape[-2:]):
                edited -= factor * self.atlas.dense(layer, concept, strength)
            else:  # so few rows that keeping the product would cost more than to form it anew
                edited -= factor * engram_matrix(matrix, trace, self.atlas.sharpness, strength)
        return edited

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
        taken = self._edit.taken(self.atlas.concepts) if self.on else {}
        if not taken and not (self.on and self._edit.from_nothing):
            self._clear()
            close_experts(self._view)
            refresh(self._view)
            return
        factors = self._factors(taken)
        groups: dict[tuple[Any, ...], list[LinearMap]] = {}
        for layer in self._layers:
            if factors[layer] or self._edit.from_nothing:
                key = (self.atlas.source_key(layer), factors[layer])
                groups.setdefault(key, []).append(self.atlas.slot(layer))
        held = [slot.outputs * slot.width for slots in groups.values() for slot in slots]
        small = sum(held) <= _SMALL_EDIT
        split = [
            (key, slots if small and not slots[0].routed else self._dense_members(slots, taken))
            for key, slots in groups.items()
        ]
        if taken:  # what is quantised is edited at its input, whatever the number of rows
            split = [(key, [slot for slot in members if not slot.opaque]) for key, members in split]
        dense = [slot for _, members in split for slot in members]
        structure_now = (tuple(groups), self._layers, self._edit.from_nothing, tuple(taken))
        if structure_now == self._structure and not dense:
            for key, edit in self._inputs.items():
                edit.weights = self._weights(groups[key][0].name, taken, key[1])
            return
        thin = {
            key: found
            for key, members in split
            if (slots := [slot for slot in groups[key] if slot not in members])
            and (found := self._thin(key, slots, taken)) is not None
        }
        witness = self._witness(dense, thin, taken, factors)
        self._clear()
        view = self._view
        for slot in dense:
            self._written.append(slot)
            if witness is None or not _adopt(view, witness, slot):
                write_matrix(view, slot, self.edited_matrix(slot.name, taken, factors[slot.name]))
        for key, (edit, slots) in thin.items():
            self._inputs[key] = edit
            self._routed += _route(view, edit, slots)
        self._structure = structure_now

    def _witness(
        self,
        dense: list[LinearMap],
        thin: dict[tuple[Any, ...], tuple[InputEdit | OutputEdit, list[LinearMap]]],
        taken: Mapping[str, float],
        factors: Mapping[str, float],
    ) -> nn.Module | None:
        """Show on another view that the edit acts, unless that is known; return the view with its weights."""
        base = base_of(self._view)
        forms = [(slot, "weights") for slot in dense]
        for edit, slots in thin.values():
            forms += [(slot, "output" if isinstance(edit, OutputEdit) else "input") for slot in slots]
        built = structure(base)
        known = known_to_act(base, built)
        new = [(slot, form) for slot, form in forms if (slot.name, form) not in known]
        if not new:
            return None
        still_layers(base, [slot for slot, _ in new])
        witness = shared_copy(base)
        for slot in dense:
            write_matrix(witness, slot, self.edited_matrix(slot.name, taken, factors[slot.name]))
        for edit, slots in thin.values():
            _route(witness, edit, slots)
        keys = {slot.name: key for key, (_, slots) in thin.items() for slot in slots}

        def edited(slot: LinearMap, rows: Tensor) -> Tensor:
            stack, weights = self._stack(slot.name, taken), thin[keys[slot.name]][0].weights
            spans = [stack.spans[name] for name in stack.spans if name in taken]
            duals, own = _picked(stack.duals, spans).to(rows), _picked(stack.rows, spans).to(rows)
            share = (rows @ duals.mT) * (weights if isinstance(weights, float) else weights.to(rows))
            return (0.0 if self._edit.from_nothing else rows) - share @ own

        def of_interest(slot: LinearMap) -> Tensor | None:
            for name in taken:
                trace = self.atlas.trace(slot.name, name)
                rows = trace.moment if trace.folded else trace.rows
                if rows.shape[-2]:
                    return rows[0, :2, : slot.columns]
            return None

        # An input of what is taken away feels the edit; the others only leaks of it.
        probes = sorted(self.atlas.probes, key=lambda p: not any(name in taken for name in p.concepts))
        with torch.no_grad():
            show_it_acts(witness, base, new, probes, edited, of_interest)
        for edit, _ in thin.values():
            if isinstance(edit, InputEdit):
                edit.memo = None
        remember(base, built, [(slot.name, form) for slot, form in new])
        return witness

    def _clear(self) -> None:
        """Make the view compute what the base does."""
        for module in self._routed:
            restore_forward(module)
        for slot in self._written:
            _restore(self._view, base_of(self._view), slot)
        self._routed, self._written, self._inputs, self._structure = [], [], {}, None

    def _dense_members(self, slots: list[LinearMap], taken: Mapping[str, float]) -> list[LinearMap]:
        """Return those of the layers with one input whose weights are to be replaced."""
        traces = [self.atlas.trace(slots[0].name, concept) for concept in taken]
        if not traces or any(trace.folded for trace in traces):
            return slots
        free = [s for s in slots if not (s.dense_only or s.module.startswith(self._fused))]
        # Rows and duals against the matrices: the smaller form is also the cheaper one to apply.
        if 2 * sum(trace.rows.shape[-2] for trace in traces) >= sum(slot.outputs for slot in free):
            return slots
        return [slot for slot in slots if slot not in free]

    def _stack(self, layer: str, taken: Mapping[str, float]) -> _Stack:
        key = self.atlas.source_key(layer)
        stack = self._stacks.get(key)
        if stack is not None and all(name in stack.spans for name in taken):
            return stack
        parts, spans, start = [], {}, 0
        names = dict.fromkeys([*(stack.spans if stack is not None else ()), *taken])
        for name in names:
            rows, duals, mu = self.atlas.trace(layer, name).pair(self.atlas.sharpness)
            parts.append((rows[0], duals[0], None if mu is None else mu[0]))
            spans[name] = slice(start, start + rows.shape[-2])
            start += rows.shape[-2]
        mus = [mu for *_, mu in parts if mu is not None]
        stack = _Stack(
            _stacked([rows for rows, *_ in parts]), _stacked([duals for _, duals, _ in parts]), spans,
            _stacked(mus) if mus else None,
        )  # fmt: skip
        self._stacks[key] = stack
        return stack

    def _weights(self, layer: str, taken: Mapping[str, float], factor: float) -> Tensor | float:
        """Return the weight of every row of the concepts that are on, in the order of the stack."""
        stack = self._stack(layer, taken)
        names = [name for name in stack.spans if name in taken]
        if stack.mu is None and len({taken[name] for name in names}) == 1:
            return factor * taken[names[0]]
        parts = []
        for name in names:
            span = stack.spans[name]
            if stack.mu is None:
                parts.append(stack.rows.new_full((span.stop - span.start,), factor * taken[name]))
            else:
                weights = self.atlas.sharpness.weights(stack.mu[span], taken[name])
                parts.append(factor * weights.to(stack.rows))
        return _stacked(parts)

    def _thin(
        self, key: tuple[Any, ...], slots: list[LinearMap], taken: Mapping[str, float]
    ) -> tuple[InputEdit | OutputEdit, list[LinearMap]] | None:
        """Return the edit of layers at the input they share, or of one with few outputs at its output."""
        stack = self._stack(slots[0].name, taken)
        names = [name for name in stack.spans if name in taken]
        spans = [stack.spans[name] for name in names]
        keeps, columns = not self._edit.from_nothing, slots[0].columns
        if keeps and not any(span.stop > span.start for span in spans):
            return None  # none of these concepts ever reached these layers
        weights = self._weights(slots[0].name, taken, key[1])
        duals = _picked(stack.duals, spans)
        if len(slots) == 1 and slots[0].outputs < columns and not slots[0].opaque:
            left = _stacked([self._left(slots[0].name, name, stack) for name in names])
            return OutputEdit(left, duals, weights, columns=columns, keeps=keeps), slots
        rows = _picked(stack.rows, spans)
        return InputEdit(rows, duals, weights, columns=columns, keeps=keeps, members=len(slots)), slots

    def _left(self, layer: str, concept: str, stack: _Stack) -> Tensor:
        """Return ``(W Fᵀ)ᵀ`` of one concept, (r, outputs)."""
        key, rows = (layer, concept), stack.rows[stack.spans[concept]]
        left = self.atlas.lefts.get(key)
        if left is None or left.dtype != rows.dtype or left.device != rows.device:
            left = rows @ self.atlas.matrix(layer)[0].to(rows).mT
            self.atlas.lefts[key] = left
        return left

    def _delta_norm(self, layer: str, taken: Mapping[str, float]) -> float:
        if self._edit.from_nothing:
            left = self.atlas.matrix(layer) - self.edited_matrix(layer, taken, 1.0)
            return float(torch.linalg.vector_norm(left))
        return Engram(self.atlas, taken).norm(layer) if taken else 0.0


@exactly
def layer_factors(atlas: Atlas, edit: Edit) -> dict[str, float]:
    """Return ``f_l`` of every layer of an edit: 1, or ``(rel_l / max rel)^p`` if it is adaptive."""
    taken = edit.taken(atlas.concepts)
    if edit.scaling == "plain" or not taken:
        return dict.fromkeys(edit.layers, 1.0)
    engram = Engram(atlas, taken)
    relative = {layer: engram.norm(layer) / (atlas.weight_norm(layer) or 1.0) for layer in edit.layers}
    largest = max(relative.values())
    return {layer: (r / largest) ** edit.adaptive_power if largest else 1.0 for layer, r in relative.items()}


@exactly
def edit_sizes(atlas: Atlas, edit: Edit) -> dict[str, float]:
    """Return the norm of what an edit takes away in every layer (keeping from nothing: of what it keeps)."""
    taken = edit.taken(atlas.concepts)
    factors = layer_factors(atlas, edit)
    engram = Engram(atlas, taken)
    return {layer: abs(factors[layer]) * engram.norm(layer) if taken else 0.0 for layer in edit.layers}


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)  # a single one needs no copy


def _picked(tensor: Tensor, spans: list[slice]) -> Tensor:
    """Return the rows of some spans: a concept that is off costs nothing."""
    if all(one.stop == two.start for one, two in zip(spans, spans[1:], strict=False)):
        return tensor[spans[0].start : spans[-1].stop]  # neighbours need no copy
    return torch.cat([tensor[span] for span in spans])


def _route(view: nn.Module, edit: InputEdit | OutputEdit, slots: list[LinearMap]) -> list[nn.Module]:
    """Let the layers of a view compute through an edit; return their modules."""
    modules = []
    for slot in slots:
        slot.open(view)
        module = submodule(view, slot.port)
        edit_forward(module, slot, edit, last=slot is slots[-1])
        modules.append(module)
    return modules


def _adopt(view: nn.Module, other: nn.Module, slot: LinearMap) -> bool:
    """Let `view` hold the parameters that another view of the same model holds; False if it holds none."""
    if type(slot).hold is not LinearMap.hold:
        return False
    mine, theirs = submodule(view, slot.module), submodule(other, slot.module)
    found = False
    for name in slot.parameter_names():
        (owner, attribute), (giver, _) = _owner(mine, name), _owner(theirs, name)
        given = giver._parameters.get(attribute)
        if given is not owner._parameters.get(attribute):
            owner._parameters[attribute] = given
            found = True
    return found


def _owner(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    head, _, attribute = path.rpartition(".")
    return submodule(module, head), attribute


def _restore(view: nn.Module, base: nn.Module, slot: LinearMap) -> None:
    if slot.release(view):
        return
    edited, original = submodule(view, slot.module), submodule(base, slot.module)
    for name in slot.parameter_names():
        mine, attribute = _owner(edited, name)
        theirs, _ = _owner(original, name)
        mine._parameters[attribute] = own_parameter(view, theirs._parameters[attribute])


@exactly
def write_matrix(model: nn.Module, slot: LinearMap, matrix: Tensor, *, own: bool = False) -> None:
    """Give `model` its own parameters for a slot; what a parameter held before is not written to.

    Only if `own` says that nobody else holds the parameters, and only fused experts, are they written in
    place: a copy of the whole block for every expert would take hours.
    """
    if slot.hold(model, matrix, own=own):
        return
    weight, bias = slot.split(matrix)
    module = submodule(model, slot.module)
    for name, tensor in slot.merge(model, weight, bias).items():
        owner, attribute = _owner(module, name)
        old = owner._parameters[attribute]
        assert old is not None
        new = tensor.to(device=old.device, dtype=old.dtype)
        if new.data_ptr() == matrix.data_ptr():
            new = new.clone()
        owner._parameters[attribute] = nn.Parameter(new.contiguous(), requires_grad=old.requires_grad)


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
