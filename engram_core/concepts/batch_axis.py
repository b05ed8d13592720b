"""Along which dimension the inputs of a call lie, and which of its arguments are divided with them."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from ..errors import EngramError
from ..models.view import base_of
from .batch import Batch, Cut, Key
from .trial_runs import Prober

__all__ = ["argument_names", "cut_of", "too_many_arguments"]

_TRIES = 8  # ways to divide the arguments that are tried


_decided: weakref.WeakKeyDictionary[nn.Module, dict[tuple, Cut]] = weakref.WeakKeyDictionary()


def argument_names(model: nn.Module, batch: Batch) -> dict[Key, str]:
    """Return the name of every argument, as the model's forward calls it.

    Args:
        model: any model.
        batch: the call.
    """
    names: dict[Key, str] = {key: key for key in batch.kwargs}
    try:
        known = list(inspect.signature(type(base_of(model)).forward).parameters.values())[1:]
    except (TypeError, ValueError):
        known = []
    for place in range(len(batch.args)):
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        given = place < len(known) and known[place].kind in kinds
        names[place] = known[place].name if given else str(place)
    return names


def too_many_arguments(model: nn.Module, batch: Batch) -> str:
    """Return that a call has more positional arguments than the model takes; empty if it has not.

    Args:
        model: any model.
        batch: the call.
    """
    known = inspect.signature(type(base_of(model)).forward).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in known):
        return ""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes = sum(p.kind in kinds for p in known) - 1
    if len(batch.args) <= takes:
        return ""
    return (
        f"it takes {takes} argument{'s' if takes != 1 else ''} and this batch has {len(batch.args)}. If the "
        "last are labels, leave them out: (x for x, _ in loader)."
    )


def _form(batch: Batch) -> tuple:
    """Return what sets of inputs have in common that are divided alike."""
    lead = batch.leading()[1]
    parts: list[tuple] = []
    for label, tensor in batch.tensors():
        shape = tensor.shape
        same = tuple(tensor.ndim > d and lead.ndim > d and shape[d] == lead.shape[d] for d in (0, 1))
        parts.append((label, tensor.ndim, tensor.dtype, tuple(shape[2:]), same))
    return (len(batch.args), *parts)


def cut_of(model: nn.Module, batch: Batch, axis: int | str | None = "auto") -> Cut:
    """Return how a set of inputs is divided, found out once for a model and a form of inputs.

    Args:
        model: any model; its base is run on a few of the inputs.
        batch: the set.
        axis: the dimension along which the inputs lie, None if the set is one input, or ``"auto"``: the first
            if the model gives the same rows for inputs that run apart; else, if a batch dimension can be put
            before it, the set is one input without one; else the second, if the rows are the same along it;
            else the set is one input.
    """
    if batch.cut.axis is None or axis is None:
        return Cut(None)
    base = base_of(model)
    known = _decided.setdefault(base, {})
    key = (axis, *_form(batch))
    if key not in known:
        known[key] = _find(base, batch, axis)
    return known[key]


def _find(model: nn.Module, batch: Batch, axis: int | str) -> Cut:
    plain = Cut(0 if axis == "auto" else int(axis))
    plain = replace(plain, along=frozenset(batch.along(int(plain.axis or 0))))
    if not batch.leading()[1].numel():
        return plain
    try:
        probe = Prober(model)
    except EngramError:
        return plain
    runs = False
    for place in (0, 1) if axis == "auto" else (int(axis),):
        for cut in _ways(batch, place):
            found = probe.may_cut(batch, cut)
            if found:
                return cut
            runs |= found is False
        if axis != "auto":
            return plain
        if place == 0 and probe.same(batch.map(_with_batch_dimension), batch):
            return Cut(None)
    # Inputs that the model cannot run at all are left to the recording, which says so.
    return Cut(None) if runs or probe.run(batch) is not None else plain


def _with_batch_dimension(_key: Key, value: Any) -> Any:
    return value[None] if isinstance(value, Tensor) else value


def _ways(batch: Batch, axis: int) -> Iterator[Cut]:
    """Yield the ways to divide the arguments: all that may be, all but one, the leading one alone."""
    along = batch.along(axis)
    if not along:
        return
    ways = [along, *([k for k in along if k != other] for other in along[1:]), along[:1]]
    for way in list(dict.fromkeys(map(frozenset, ways)))[:_TRIES]:
        yield Cut(axis, way)
