"""Edit a model without touching it: which memories are off, on a view beside the base.

Every edit has the form ``W' = w₀ W − Σ_c s_c f_l E_c``: erasing has ``w₀ = 1`` and ``s_c = α_c``; keeping
from nothing has ``w₀ = 0`` and ``s_c = −1``; keeping in place erases all the others (SCIENCE.md section 1).
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .engram import Atlas, Engram
from .errors import DataError, EngramError, suggest
from .layers import Slot
from .view import base_of, shared_copy

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


class LiveEdit:
    """The edit that is in force on a view; change it, switch it off and on, read what it does.

    Layers whose engrams are pairs of few rows are edited at their input, by
    ``x' = w₀ x − Fᵀ diag(w) R x``, so a strength is a scalar; the others get a combined weight.
    """

    def __init__(self, atlas: Atlas, view: nn.Module, edit: Edit):
        self.atlas = atlas
        self._view = view
        self._edit = edit
        self._on = True
        self._stacks: dict[Any, _Stack] = {}
        self._handles: list[Any] = []
        self._written: list[Slot] = []  # whose parameters the view has replaced
        # The fused path of these never calls the layers inside, and takes nested tensors that hooks break.
        self._fused = tuple(
            f"{name}." if name else ""
            for name, module in base_of(view).named_modules()
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
        self._edit = edit
        self._on = True
        self._install()
        return self

    def off(self) -> LiveEdit:
        """Make the view compute exactly what the base computes."""
        self._on = False
        self._install()
        return self

    def turn_on(self) -> LiveEdit:
        """Put the edit in force again."""
        self._on = True
        self._install()
        return self

    def report(self) -> EditReport:
        """Return what is on, with the size of the change in every layer."""
        if not self.on:
            kept = None if self._edit.keep is None else tuple(n for n, _ in self._edit.keep)
            return EditReport(False, {}, kept, (), 0.0, {}, {})
        taken = self._edit.taken(self.atlas.concepts)
        factors = layer_factors(self.atlas, self._edit)
        per_layer: dict[str, float] = {}
        changed = whole = 0.0
        for layer in self._edit.layers:
            size = self.atlas.weight_norm(layer)
            delta = abs(factors[layer]) * self._delta_norm(layer, taken)
            per_layer[layer] = delta / size if size else 0.0
            changed, whole = changed + delta**2, whole + size**2
        shown = taken if not self._edit.from_nothing else dict(self._edit.erase)
        kept = None if self._edit.keep is None else tuple(n for n, _ in self._edit.keep)
        return EditReport(
            True, shown, kept, tuple(self._edit.layers), math.sqrt(changed / whole) if whole else 0.0,
            per_layer, factors,
        )  # fmt: skip

    def bake(self) -> nn.Module:
        """Return a plain module with the edited weights: float32 arithmetic, rounded once."""
        baked = copy.deepcopy(base_of(self._view))
        if not self.on:
            return baked
        taken = self._edit.taken(self.atlas.concepts)
        factors = layer_factors(self.atlas, self._edit)
        for layer in self._edit.layers:
            write_matrix(baked, self.atlas.slot(layer), self.edited_matrix(layer, taken, factors[layer]))
        return baked

    # -- how it is done -------------------------------------------------------------------------

    def edited_matrix(self, layer: str, taken: Mapping[str, float], factor: float) -> Tensor:
        """Return ``W' = w₀ W − f Σ s E`` of a layer, (groups, out, D), float32 or float64."""
        matrix = self.atlas.matrix(layer)
        edited = torch.zeros_like(matrix) if self._edit.from_nothing else matrix.clone()
        for concept, strength in taken.items():
            edited -= factor * self.atlas.dense(layer, concept, strength)
        return edited

    def _install(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        base, view = base_of(self._view), self._view
        slots = {layer: self.atlas.slot(layer) for layer in self._edit.layers}
        for slot in self._written:
            _restore(view, base, slot)
        self._written = []
        if not self.on:
            return
        taken = self._edit.taken(self.atlas.concepts)
        if not taken and not self._edit.from_nothing:
            return
        factors = layer_factors(self.atlas, self._edit)
        for layer, slot in slots.items():
            if factors[layer] == 0.0 and not self._edit.from_nothing:
                continue
            if self._is_dense(slot, taken):
                matrix = self.edited_matrix(layer, taken, factors[layer])
                self._written.append(slot)
                write_matrix(view, slot, matrix)
            else:
                self._hook(view, slot, taken, factors[layer])

    def _is_dense(self, slot: Slot, taken: Mapping[str, float]) -> bool:
        traces = [self.atlas.trace(slot.name, concept) for concept in taken]
        if slot.dense_only or slot.module.startswith(self._fused):
            return True
        if not traces or any(trace.folded for trace in traces):
            return True
        # Rows and duals against one matrix: the smaller form is also the cheaper one to apply.
        return 2 * sum(trace.rows.shape[-2] for trace in traces) >= slot.outputs

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

    def _hook(self, view: nn.Module, slot: Slot, taken: Mapping[str, float], factor: float) -> None:
        stack = self._stack(slot.name, taken)
        weights = torch.zeros(len(stack.rows), dtype=stack.rows.dtype, device=stack.rows.device)
        for concept, strength in taken.items():
            span = stack.spans[concept]
            if stack.mu is None:
                weights[span] = factor * strength
            else:
                weights[span] = factor * self.atlas.sharpness.weights(stack.mu[span], strength).to(weights)
        rows, duals, used = stack.rows, stack.duals, weights != 0
        if not used.all():  # a concept that is off costs nothing
            rows, duals, weights = rows[used], duals[used], weights[used]
        module = view.get_submodule(slot.module)
        keeps = 0.0 if self._edit.from_nothing else 1.0
        before, after = _input_edit(slot, rows, duals, weights, keeps)
        self._handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        if slot.bias:
            self._handles.append(module.register_forward_hook(after))

    def _delta_norm(self, layer: str, taken: Mapping[str, float]) -> float:
        if self._edit.from_nothing:
            left = self.atlas.matrix(layer) - self.edited_matrix(layer, taken, 1.0)
            return float(torch.linalg.vector_norm(left))
        return Engram(self.atlas, taken).norm(layer) if taken else 0.0


def layer_factors(atlas: Atlas, edit: Edit) -> dict[str, float]:
    """Return ``f_l`` of every layer of an edit: 1, or ``(rel_l / max rel)^p`` if it is adaptive."""
    taken = edit.taken(atlas.concepts)
    if edit.scaling == "plain" or not taken:
        return dict.fromkeys(edit.layers, 1.0)
    engram = Engram(atlas, taken)
    relative = {layer: engram.norm(layer) / (atlas.weight_norm(layer) or 1.0) for layer in edit.layers}
    largest = max(relative.values())
    return {layer: (r / largest) ** edit.adaptive_power if largest else 1.0 for layer, r in relative.items()}


def edit_sizes(atlas: Atlas, edit: Edit) -> dict[str, float]:
    """Return the norm of what an edit takes away in every layer (keeping from nothing: of what it keeps)."""
    taken = edit.taken(atlas.concepts)
    factors = layer_factors(atlas, edit)
    engram = Engram(atlas, taken)
    return {layer: abs(factors[layer]) * engram.norm(layer) if taken else 0.0 for layer in edit.layers}


def _stacked(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)  # a single one needs no copy


class _Betas(threading.local):
    """β on its way from the first hook to the second one of the same call; each thread has its own."""

    def __init__(self) -> None:
        self.stack: list[Tensor] = []


def _input_edit(slot: Slot, rows: Tensor, duals: Tensor, weights: Tensor, keeps: float) -> tuple[Any, Any]:
    """Build the two hooks that edit a Linear map at its input.

    The bias is the map of the row's constant 1; an edit turns that 1 into β, and the forward hook adds
    the difference ``b (β − 1)`` that the layer itself cannot know.
    """
    columns = slot.columns
    down, down_one = duals[:, :columns], duals[:, columns:]
    up, up_one = rows[:, :columns], rows[:, columns:]
    betas = _Betas()

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        name = None if args else next(k for k, v in kwargs.items() if isinstance(v, Tensor))
        x = args[0] if name is None else kwargs[name]
        wide = x.to(rows.dtype)
        share = wide @ down.mT
        if slot.bias:
            share = share + down_one.mT
        share = share * weights
        if slot.bias:
            betas.stack.append(keeps - share @ up_one)
        edited = (keeps * wide - share @ up) if keeps else -(share @ up)
        edited = edited.to(x.dtype)
        return ((edited, *args[1:]), kwargs) if name is None else (args, kwargs | {name: edited})

    def after(module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        beta = betas.stack.pop()
        bias = module.bias.detach().to(rows.dtype)  # type: ignore[union-attr,operator]
        return (output.to(rows.dtype) + (beta - 1.0) * bias).to(output.dtype)

    return before, after


def _owner(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    head, _, attribute = path.rpartition(".")
    return (module.get_submodule(head) if head else module), attribute


def _restore(view: nn.Module, base: nn.Module, slot: Slot) -> None:
    edited, original = view.get_submodule(slot.module), base.get_submodule(slot.module)
    for name in slot.parameter_names():
        mine, attribute = _owner(edited, name)
        theirs, _ = _owner(original, name)
        if mine._parameters.get(attribute) is not theirs._parameters.get(attribute):
            mine._parameters[attribute] = theirs._parameters[attribute]


def write_matrix(model: nn.Module, slot: Slot, matrix: Tensor) -> None:
    """Give `model` its own parameters for a slot; what a parameter held before is not written to."""
    weight, bias = slot.split(matrix)
    module = model.get_submodule(slot.module)
    for name, tensor in slot.merge(model, weight, bias).items():
        owner, attribute = _owner(module, name)
        old = owner._parameters[attribute]
        assert old is not None
        new = tensor.to(device=old.device, dtype=old.dtype)
        if new.data_ptr() == matrix.data_ptr():
            new = new.clone()
        owner._parameters[attribute] = nn.Parameter(new.contiguous(), requires_grad=old.requires_grad)


def apply_edit(atlas: Atlas, edit: Edit, model: nn.Module | None = None) -> nn.Module:
    """Return a view of `model` with `edit` in force; `live_edit(view)` controls it."""
    base = base_of(atlas.model if model is None else model)
    atlas.identity.check(base)
    view = shared_copy(base)
    object.__setattr__(view, "engram_edit", LiveEdit(atlas, view, edit))
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


def with_strength(edit: Edit, strength: float) -> Edit:
    """Return the edit with every erased concept at one strength."""
    return replace(edit, erase=tuple((name, float(strength)) for name, _ in edit.erase))
