"""Cut concepts into batches and say, for every input or position, which concept it belongs to.

An *owner* is the number of a concept for a whole batch, or a tensor of such numbers, shape (inputs,) or
(inputs, positions), in which −1 marks what does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .concepts import Batch, ConceptSet, Inputs, batches
from .errors import DataError, NonFiniteError

__all__ = ["BACKGROUND", "Owned", "labelled", "mixed", "plain"]

BACKGROUND = "(background)"
"""Name of the rows that belong to the total and to no concept."""

Owned = tuple[str, Batch, int | Tensor]
"""What is being recorded, in words; the batch; its owner."""


def _as_owner(mask: Any, index: int, batch: Batch, concept: str) -> int | Tensor:
    """Turn a mask over inputs or positions into owners."""
    if mask is None:
        return index
    mask = torch.as_tensor(mask)
    if mask.ndim not in (1, 2) or mask.shape[0] != batch.size:
        raise DataError(
            f"Concept {concept!r}: a mask must have shape ({batch.size},) or ({batch.size}, positions) for "
            f"this batch; found {tuple(mask.shape)}."
        )
    return torch.where(mask.bool(), index, -1)


def padding_mask(batch: Batch) -> Tensor | None:
    """Return which positions of a batch are no padding, shape (inputs, positions); None if all are.

    That is the batch's own ``attention_mask``, if it has two dimensions and some other tensor of the batch
    has the same first two: the model pays no attention to what it marks with 0.
    """
    mask = batch.kwargs.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        return None
    if not bool(((mask == 0) | (mask == 1)).all()):
        return None  # added to the scores rather than multiplied: 0 means the opposite there
    others = [t for label, t in batch.tensors() if label != "argument 'attention_mask'"]
    if not any(t.shape[:2] == mask.shape for t in others):
        return None
    return None if bool(mask.bool().all()) else mask.bool()


def _mask_batches(mask: Any, inputs: Inputs, batch_size: int) -> Iterator[Any]:
    """Cut a mask as its inputs are cut: a tensor by batch size, a list by batches."""
    if isinstance(mask, Tensor) or hasattr(mask, "__array__"):
        yield from torch.as_tensor(mask).split(batch_size)
    else:
        yield from mask


def labelled(
    concepts: ConceptSet, masks: Mapping[str, Any], batch_size: int
) -> Iterator[tuple[str, Batch, Any]]:
    """Yield every batch with its concept's name and its mask."""
    for name in concepts:
        yield from _one_concept(name, concepts[name].record, masks, batch_size)
    if concepts.background is not None:
        yield from _one_concept(BACKGROUND, concepts.background, masks, batch_size)


def _one_concept(
    name: str, inputs: Inputs, masks: Mapping[str, Any], batch_size: int
) -> Iterator[tuple[str, Batch, Any]]:
    mask = masks.get(name)
    parts = None if mask is None else _mask_batches(mask, inputs, batch_size)
    for batch in batches(inputs, batch_size=batch_size, label=name):
        for label, tensor in batch.tensors():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise NonFiniteError(f"Concept {name!r}: {label} holds NaN or infinity. Clean the inputs.")
        # A mask that is given as None says that everything counts, padding included.
        part = padding_mask(batch) if name not in masks else None
        if parts is not None:
            part = next(parts, None)
            if part is None:
                raise DataError(f"Concept {name!r}: the mask is shorter than the inputs.")
        yield name, batch, part
    if parts is not None and next(parts, None) is not None:
        raise DataError(f"Concept {name!r}: the mask is longer than the inputs.")


def _signature(batch: Batch) -> tuple | None:
    """Two batches with one signature can be joined along dimension 0; None: this one with no other."""
    parts: list[tuple] = []
    for value in (*batch.args, *batch.kwargs.values()):
        if isinstance(value, Tensor) and value.ndim and value.shape[0] == batch.size:
            parts.append((value.shape[1:], value.dtype))
        elif isinstance(value, Tensor):
            return None
        else:
            parts.append((repr(value),))
    return (len(batch.args), tuple(batch.kwargs), tuple(parts))


def _join(items: list[Batch]) -> Batch:
    first = items[0]

    def cat(values: list[Any]) -> Any:
        return torch.cat(values) if isinstance(values[0], Tensor) else values[0]

    return Batch(
        tuple(cat([b.args[i] for b in items]) for i in range(len(first.args))),
        {key: cat([b.kwargs[key] for b in items]) for key in first.kwargs},
        sum(b.size for b in items),
    )


def mixed(
    stream: Iterator[tuple[str, Batch, Any]], index: Mapping[str, int], batch_size: int
) -> Iterator[Owned]:
    """Join small batches of different concepts into full ones."""
    waiting: list[tuple[Batch, Tensor]] = []
    key: tuple | None = None
    names: list[str] = []

    def flush() -> Iterator[Owned]:
        if waiting:
            positions = max(o.shape[1] if o.ndim == 2 else 0 for _, o in waiting)
            owners = [
                o[:, None].expand(-1, positions) if positions and o.ndim == 1 else o for _, o in waiting
            ]
            yield ", ".join(dict.fromkeys(names)), _join([b for b, _ in waiting]), torch.cat(owners)
        waiting.clear()
        names.clear()

    for name, batch, mask in stream:
        owner = _as_owner(mask, index[name], batch, name)
        if isinstance(owner, int):
            owner = torch.full((batch.size,), owner)
        signature = _signature(batch)
        held = sum(b.size for b, _ in waiting)
        if waiting and (signature is None or signature != key or held + batch.size > batch_size):
            yield from flush()
        waiting.append((batch, owner))
        names.append(name)
        key = signature
    yield from flush()


def plain(stream: Iterator[tuple[str, Batch, Any]], index: Mapping[str, int]) -> Iterator[Owned]:
    """Give every batch, which belongs to one concept, its owner."""
    for name, batch, mask in stream:
        yield name, batch, _as_owner(mask, index[name], batch, name)
