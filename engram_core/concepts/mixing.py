"""Give the batches of concepts their owners; small ones of different concepts are joined into full ones.

An *owner* is the number of a concept for a whole batch; or, for one whose inputs or positions do not all
count or belong to several concepts, a tensor of such numbers, shape (inputs,) or (inputs, positions), in
which −1 marks what does not count; or a `row_owners.Owner`, which also knows whose positions a mask is
about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from .batch import Batch
from .batches import Part, Reader
from .row_owners import Owner

__all__ = ["BatchWithOwner", "mixed", "plain"]


BatchWithOwner = tuple[str, Batch, int | Tensor | Owner]
"""What is being recorded, in words; the batch; its owner."""


def plain(parts: Iterator[Part], index: Mapping[str, int], reader: Reader) -> Iterator[BatchWithOwner]:
    """Give every batch, which belongs to one concept, its owner.

    Args:
        parts: the batches.
        index: number of every concept.
        reader: says what counts.

    Yields:
        Every batch with its owner.
    """
    for part in parts:
        number = index[part.concept]
        yield part.concept, part.batch, number if part.whole else reader.owner(part, number)
        del part


def _signature(part: Part) -> tuple | None:
    """Two parts with one signature can be joined; None: this one with no other."""
    batch = part.batch
    axis, along = batch.cut.axis, batch.cut.along
    if axis is None or along is None:
        return None
    found: list[tuple] = []
    for key, value in batch.items():
        if key not in along:
            if any(True for _ in replace(batch, args=(value,), kwargs={}).tensors()):
                return None
            found.append((repr(value),))
        elif not isinstance(value, Tensor):
            return None
        else:
            found.append((value.shape[:axis], value.shape[axis + 1 :], value.dtype))
    masks = tuple((k, m.shape[1]) for k, m in part.positions.items())
    loose = None if part.loose is None else part.loose.shape[1]
    return (axis, along, len(batch.args), tuple(batch.kwargs), tuple(found), masks, loose)


def _join(items: list[Batch]) -> Batch:
    first = items[0]
    every = [dict(b.items()) for b in items]
    axis, along = first.cut.axis or 0, first.cut.along or ()
    return first.map(
        lambda key, value: torch.cat([one[key] for one in every], axis) if key in along else value,
        size=sum(b.size for b in items),
    )


def _joined(owners: list[Owner]) -> Owner:
    first = owners[0]
    return replace(
        first,
        inputs=torch.cat([o.inputs for o in owners]),
        positions={k: torch.cat([o.positions[k] for o in owners]) for k in first.positions},
        loose=None if first.loose is None else torch.cat([o.loose for o in owners if o.loose is not None]),
    )


def mixed(parts: Iterator[Part], index: Mapping[str, int], reader: Reader) -> Iterator[BatchWithOwner]:
    """Join small batches of different concepts into full ones, where the model's inputs can be joined.

    Args:
        parts: the batches.
        index: number of every concept.
        reader: says what counts.

    Yields:
        Every batch with its owner.
    """
    waiting: list[tuple[Batch, Owner]] = []
    key: tuple | None = None
    names: list[str] = []

    def flush() -> Iterator[BatchWithOwner]:
        if len(waiting) == 1:
            batch, owner = waiting[0]
            yield names[0], batch, owner
        elif waiting:
            owners = _joined([o for _, o in waiting])
            yield ", ".join(dict.fromkeys(names)), _join([b for b, _ in waiting]), owners
        waiting.clear()
        names.clear()

    for part in parts:
        signature = _signature(part)
        held = sum(b.size for b, _ in waiting)
        if waiting and (signature is None or signature != key or held + part.batch.size > reader.batch_size):
            yield from flush()
        waiting.append((part.batch, reader.owner(part, index[part.concept])))
        names.append(part.concept)
        key = signature
    yield from flush()
