"""Show that an edit acts: every layer it changes is called in a pass, and answers as its edited map does.

The pass is made by a witness, a second view with the same edit, so that nobody's view is run or listened to.
What was shown of a layer holds for every edit of it in the same form, as long as the model's structure is the
same, so one pass serves all strengths and concepts.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import EffectError
from ..models.layers import find_linear_maps, list_layers
from ..models.linear_maps.derived import DerivedMap, held_layer
from ..models.linear_maps.linear import LinearMap
from ..models.packed_attention import open_attention
from ..models.usage import NEVER_CALLED, Usage
from ..models.view import shared_copy, submodule
from ..recording.kept_inputs import Probe

__all__ = ["Form", "known_to_act", "remember", "show_it_acts", "still_layers", "structure"]

Form = tuple[str, str]
"""A layer's name and how it is edited: ``"weights"``, ``"input"`` or ``"output"``."""

Edited = Callable[[LinearMap, Tensor], Tensor]
"""Turns rows with their bias column, (rows, width), into what the edit makes of them."""

_ATOMS = (bool, int, float, str, type(None))
_shown: weakref.WeakKeyDictionary[nn.Module, tuple[Any, set[Form]]] = weakref.WeakKeyDictionary()


def structure(model: nn.Module) -> Any:
    """Return what decides which code a pass of `model` runs: classes, switches, hooks, forwards set."""
    found: list[Any] = []
    for module in model.modules():
        state = vars(module)
        found.append((id(module), id(type(module))))
        for name, value in state.items():
            kind = type(value)
            if kind in _ATOMS:
                if name != "training":
                    found.append((name, value))
            elif name.endswith("_hooks") and isinstance(value, dict):
                found.extend((name, id(hook)) for hook in value.values()) if value else None
            elif isinstance(value, types.FunctionType | types.MethodType) or name == "forward":
                found.append((name, id(getattr(value, "__func__", value))))
    return tuple(found)


def known_to_act(base: nn.Module, built: Any) -> set[Form]:
    """Return what was shown to act in a model of this structure."""
    known = _shown.get(base)
    return known[1] if known is not None and known[0] == built else set()


def remember(base: nn.Module, built: Any, forms: Iterable[Form]) -> None:
    """Keep what was shown to act."""
    _shown[base] = (built, known_to_act(base, built) | set(forms))


def show_it_acts(
    witness: nn.Module,
    base: nn.Module,
    forms: Sequence[tuple[LinearMap, str]],
    probes: Iterable[Probe],
    edited: Edited,
    rows_of: Callable[[LinearMap], Tensor | None],
) -> None:
    """Run a witness and compare what its edited layers answer with what they should.

    Args:
        witness: a private view with the edit in force; of no further use.
        base: the model.
        forms: the layers to be shown, and how each is edited.
        probes: inputs, in the order in which they are to be tried.
        edited: what the edit makes of a layer's rows, for layers that are edited by products.
        rows_of: some recorded rows of a layer, (rows, columns), for models without probes.

    Raises:
        EffectError: if a layer is not called or does not answer so; names it and says why.
    """
    checks: dict[str, list[_Check]] = {}
    waiting: set[str] = set()
    for slot, form in forms:
        # The parts of an attention are shown together: its packed map is called once for all of them.
        path = slot.port if slot.routed or form != "weights" else slot.module
        check = _Check(slot, form, base, witness, edited)
        checks.setdefault(path, []).append(check)
        if not slot.routed:
            waiting.add(slot.name)
    for module in witness.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # made for the fused path, which hooks close
    usage = Usage(witness, [slot for slot, _ in forms], base)
    for path, several in checks.items():
        _attach(submodule(witness, path), several, usage)
    tried = False
    for probe in probes:
        tried = True
        try:
            with usage.watching(probe.args, probe.kwargs):
                probe.run(witness)
        except EffectError:
            raise
        except Exception as error:  # whatever the model's own code raises
            raise _could_not_run(base, probe, error) from error
        waiting -= {check.slot.name for several in checks.values() for check in several if check.done}
        if not waiting:
            break
    for name, why in usage.excluded().items():
        raise EffectError(
            f"The edit of layer {name!r} would not be all that happens, as the model is now: {why}. Leave "
            "the layer out with layers=…, or record the model again as it is now."
        )
    if not tried:
        _call_alone(witness, forms, rows_of)
        return
    if waiting:
        raise _unused(base, [slot for slot, _ in forms if slot.name in waiting], probes)


class _Check:
    """The comparison for one layer, made at its first call."""

    def __init__(self, slot: LinearMap, form: str, base: nn.Module, witness: nn.Module, edited: Edited):
        self.slot, self.form, self.done = slot, form, False
        self._base, self._witness, self._edited = base, witness, edited

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if self.done:
            return
        self.done = True
        found = _tensor(output)
        right = self._right(args, kwargs)
        if found.shape != right.shape:
            raise self._refusal(f"it answers in shape {tuple(found.shape)} instead of {tuple(right.shape)}")
        found, right = found.double(), right.double()
        apart, size = _norm(found - right), _norm(found) + _norm(right)
        # What is quantised rounds what it reads to steps of a hundredth or so.
        rounding = 0.05 if self.slot.opaque else 4 * torch.finfo(_tensor(output).dtype).eps + 1e-5
        if apart <= rounding * size:
            return
        before = self._before(args, kwargs).double()
        size += _norm(before)
        change = _norm(right - before)
        if apart <= max(rounding * size, min(0.05 * size, 0.25 * change)):
            return
        if self._adds_to_it(args, kwargs, found, right - before, rounding * size):
            return
        where = "the unedited layer" if _norm(found - before) <= 0.25 * change else "something else"
        raise self._refusal(
            f"on a recorded input its answer is off by {apart / size:.1%}: it is that of {where}"
        )

    def _adds_to_it(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], found: Tensor, change: Tensor, allowed: float
    ) -> bool:
        """Whether a forward set on the layer adds something of its own to what the edited layer answers."""
        if "forward" not in vars(submodule(self._base, self.slot.module)) or self.slot.routed:
            return False
        unedited = submodule(shared_copy(self._base).eval(), self.slot.module)
        effect = found - _tensor(unedited.forward(*args, **kwargs)).double()
        return _norm(effect - change) <= max(allowed, 0.25 * _norm(change)) and _norm(change) > allowed

    def _shell(self, of: nn.Module) -> Callable[..., Any]:
        """Return the layer's own code with the parameters it has in `of`, free of hooks and set forwards."""
        module = submodule(of, self.slot.module)
        held = held_layer(module) if self.form == "weights" else None
        if held is not None:
            module = held
        elif isinstance(self.slot, DerivedMap):
            module = self.slot.plain(module)
        shell = shared_copy(module).eval()
        vars(shell).pop("forward", None)
        return shell.forward

    def _right(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if self.form == "weights":
            if self.slot.routed:
                return _tensor(submodule(self._witness, self.slot.port).forward(*args, **kwargs))
            return _tensor(self._shell(self._witness)(*args, **kwargs))
        x = _tensor((*args, *kwargs.values()))
        rows = self.slot.rows(x)[0]
        wide = rows.double() if rows.dtype == torch.float64 else rows.float()
        if self.slot.bias:
            wide = torch.cat([wide, wide.new_ones(len(wide), 1)], -1)
        after = self._edited(self.slot, wide)
        columns = self.slot.columns
        answer = self._plain(after[:, :columns].reshape(x.shape).to(x.dtype))
        if self.slot.bias:
            bias = self._plain(x.new_zeros(1, columns)).reshape(-1)
            answer = answer + ((after[:, columns] - 1.0).reshape(*x.shape[:-1], 1) * bias).to(answer.dtype)
        return answer

    def _before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if self.slot.routed:
            return self._plain(_tensor((*args, *kwargs.values())))
        return _tensor(self._shell(self._base)(*args, **kwargs))

    def _plain(self, x: Tensor) -> Tensor:
        """Return what the base's layer answers to `x`."""
        if not self.slot.routed:
            return _tensor(self._shell(self._base)(x))
        matrix = self.slot.matrix(self._base)[0]
        answer = x.to(matrix.dtype) @ matrix[:, : self.slot.columns].mT
        return (answer + matrix[:, -1] if self.slot.bias else answer).to(x.dtype)

    def _refusal(self, found: str) -> EffectError:
        module = submodule(self._base, self.slot.module)
        if "forward" in vars(module):
            why = (
                "A forward of its own was set on this very layer, and does not compute with what the layer "
                "holds. Take it off, or let it use the module it is given"
            )
        else:
            why = (
                f"Its class is {type(module).__name__} now; if the model was changed since it was recorded, "
                "record it again"
            )
        return EffectError(
            f"The edit of layer {self.slot.name!r} does not act as it should: {found}. {why}; or leave the "
            "layer out with layers=…."
        )


def _attach(module: nn.Module, checks: list[_Check], usage: Usage) -> None:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        usage.paused = True
        for check in checks:
            check(args, kwargs, output)
        usage.paused = False

    # First of all hooks: what others make of the output is the model's own affair.
    module.register_forward_hook(hook, with_kwargs=True, prepend=True)


def still_layers(base: nn.Module, slots: Iterable[LinearMap]) -> None:
    """Raise EffectError unless the model's layers are what they were when their slots were found."""
    infos = {info.name: info for info in list_layers(base)}
    now = set(find_linear_maps(base)) if any(info.covered for info in infos.values()) else set()
    for slot in slots:
        if slot in now:
            continue
        info = infos.get(slot.name)
        if info is None:
            found = "it is no longer there"
        elif info.covered:
            found = f"it is another {info.kind} now, of width {info.width} with {info.outputs} outputs"
        else:
            found = f"it is {info.kind} now, which cannot be edited: {info.reason}"
        raise EffectError(
            f"Layer {slot.name!r} is not what was recorded ({slot.kind}, width {slot.width}, {slot.outputs} "
            f"outputs): {found}. Record the model again as it is now."
        )


def _call_alone(
    witness: nn.Module, forms: Sequence[tuple[LinearMap, str]], rows_of: Callable[[LinearMap], Tensor | None]
) -> None:
    """Call every layer by itself on recorded rows, where no input of the model is at hand."""
    witness.eval()
    with torch.no_grad():
        for slot, _ in forms:
            rows = None if slot.routed or slot.dense_only else rows_of(slot)
            if rows is not None:
                weight = slot.parameters(witness)[0]
                submodule(witness, slot.module)(rows.to(weight))


def _could_not_run(base: nn.Module, probe: Probe, error: Exception) -> EffectError:
    try:
        probe.run(shared_copy(base))
    except Exception:  # then it is not the edit
        return EffectError(
            f"The edit cannot be shown to act: this {type(base).__name__} cannot run the recorded input of "
            f"{', '.join(probe.concepts) or 'a batch'} any more ({error}). Record it again as it is now."
        )
    return EffectError(
        f"The edited {type(base).__name__} cannot run an input that the base runs ({error}): the model's "
        "code was changed since it was recorded, or needs the very weights that the edit replaces."
    )


def _unused(base: nn.Module, slots: Sequence[LinearMap], probes: Iterable[Probe]) -> EffectError:
    view = shared_copy(base)
    open_attention(view)
    usage = Usage(view, slots, base)
    for probe in probes:
        with usage.watching(probe.args, probe.kwargs):
            probe.run(view)
    told = "; ".join(
        f"{s.name}: {usage.why_silent(s.name).replace(NEVER_CALLED, 'never called')}" for s in slots[:4]
    )
    more = f" and {len(slots) - 4} more" if len(slots) > 4 else ""
    return EffectError(
        "The edit would not act in every layer it names, on the recorded inputs as the model is now. "
        f"{told}{more}. Leave such layers out with layers=…, or record the model again as it is now."
    )


def _tensor(value: Any) -> Tensor:
    """Return the first tensor of arguments or of an answer."""
    if isinstance(value, Tensor):
        return value.detach()
    return next(v.detach() for v in value if isinstance(v, Tensor))


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))
