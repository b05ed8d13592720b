"""Listen to a view while it runs, and sort what its layers read into streams of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..concepts.batch import Batch
from ..concepts.row_owners import Owner, spread_owner
from ..errors import DataError, NonFiniteError
from ..models.layers import LinearMap
from ..models.ports import hear_ports
from ..numerics.device import callers_device
from .statistics import Source

__all__ = ["Listener"]

TRANSFORMED = (
    "called inside torch.vmap or another transform of torch.func, where its inputs have no values to record; "
    "call it on whole batches"
)

# Distinct inputs kept in mind while looking for layers that share one. Fewer where they are large: readers of
# one tensor mostly follow each other, and what is held comes on top of all that is kept.
_RECENT, _RECENT_LARGE, _RECENT_BYTES = 16, 4, 8 << 20


@dataclass
class _Stream:
    """A source while it is being recorded."""

    source: Source
    members: dict[str, LinearMap]
    born: int  # number of the forward pass that created it
    address: int = 0
    buffered: list[Tensor] = field(default_factory=list)
    owners: list[int | Tensor] = field(default_factory=list)  # of what is held
    seen: dict[str, int] = field(default_factory=dict)
    closed: bool = False  # no further layer may join


class Listener:
    """Listens to a view's ports and sorts what it hears into streams.

    Layers that read the same tensor share one stream. Sharing is never assumed: every input is
    compared with the stream's own copy before it counts as shared, at every call, and a layer whose
    input differs once (an in-place operation in between, another branch) goes its own way from there
    with a copy of the common history.
    """

    def __init__(self, linear_maps: list[LinearMap], device: torch.device | None) -> None:
        self.linear_maps = linear_maps
        self.device = device
        self.streams: list[_Stream] = []
        self.stream_of: dict[str, _Stream] = {}
        self.pass_number = 0
        self.beyond: dict[str, str] = {}  # layers whose inputs cannot be read, and why
        self.groups: tuple[str, ...] = ()
        self.owner: int | Tensor | Owner = 0
        self._calls: dict[str, int] = {}  # of every layer in this pass

    def attach(self, view: nn.Module) -> None:
        """Put a hook on every layer's port; `view` must be a private copy."""
        hear_ports(view, self.linear_maps, self._read)

    def _read(self, linear_map: LinearMap, x: Tensor, others: tuple[Any, ...]) -> None:
        if torch._C._functorch.is_functorch_wrapped_tensor(x):
            self.beyond[linear_map.name] = TRANSFORMED
        elif linear_map.routed:
            self._hear_routed(linear_map, x, *others)
        else:
            self._hear(linear_map, x, self._owner_of(linear_map, x))

    def _owner_of(self, linear_map: LinearMap, x: Tensor) -> int | Tensor:
        """Return the owner of what a layer reads in this call: where it is known, one for every row."""
        call = self._calls.get(linear_map.name, 0)
        self._calls[linear_map.name] = call + 1
        owner = self.owner
        if not isinstance(owner, Owner):
            return owner
        read = int(x.shape[2]) if linear_map.whole and x.ndim == 3 else None
        positions = linear_map.positions(x)
        found = linear_map.placed(owner.rows(linear_map.name, call, positions, read=read), x)
        return spread_owner(found, positions, linear_map.name).reshape(positions)

    def run_batch(self, view: nn.Module, batch: Batch, owner: int | Tensor | Owner) -> None:
        """Run one batch; `owner` says which group each input or position belongs to (−1: none)."""
        self.pass_number += 1
        self.owner = owner
        self._calls = {}
        with callers_device():
            view(*batch.args, **batch.kwargs)
        self._end_of_pass()

    def leave_out(self, name: str) -> None:
        """Forget a layer and all that was heard of it alone."""
        stream = self.stream_of.pop(name, None)
        if stream is not None:
            del stream.members[name]

    def _hear(self, linear_map: LinearMap, x: Tensor, owner: int | Tensor) -> None:
        stream = self.stream_of.get(linear_map.name)
        if stream is None:
            stream = self._find(linear_map, x, owner)
            if stream is not None:
                stream.members[linear_map.name] = linear_map
                stream.seen[linear_map.name] = 1
                self.stream_of[linear_map.name] = stream
                return
            stream = self._open(linear_map, Source(linear_map.columns, linear_map.groups))
        fresh = stream.born == self.pass_number and not stream.closed
        if len(stream.members) == 1 and not fresh and not stream.buffered:
            self._fold(stream, x, owner, owned=False)
            return
        position = stream.seen.get(linear_map.name, 0)
        if position < len(stream.buffered):
            if not (_same(stream.buffered[position], x) and _same_owner(stream.owners[position], owner)):
                self._part(stream, linear_map)
                self._hear(linear_map, x, owner)
                return
        else:
            stream.buffered.append(x.clone())
            stream.owners.append(owner)
            stream.address = x.data_ptr()
        stream.seen[linear_map.name] = position + 1
        if not fresh and all(stream.seen.get(m, 0) == len(stream.buffered) for m in stream.members):
            self._release(stream)

    def _hear_routed(self, linear_map: LinearMap, x: Tensor, tokens: Tensor, total: int) -> None:
        """Take in the rows of one expert: no other layer reads these, so nothing is held or compared.

        Args:
            linear_map: the expert.
            x: (rows, columns).
            tokens: which of the pass's tokens each row is, (rows,).
            total: number of tokens in the pass, padding included.
        """
        owner = self.owner
        if isinstance(owner, Owner):
            owner = owner.tokens(linear_map.name, linear_map.module, total)
        if not isinstance(owner, int):
            owner = owner.to(tokens.device)
            if owner.ndim == 1 and len(owner) < total:  # one per input: its positions follow each other
                owner = owner.repeat_interleave(total // len(owner))
            owner = spread_owner(owner, (total,), linear_map.name)[tokens]
            if not (owner >= 0).any():
                return  # padding is routed as well
        stream = self.stream_of.get(linear_map.name)
        if stream is None:
            stream = _Stream(
                Source(linear_map.columns, linear_map.groups),
                {linear_map.name: linear_map},
                self.pass_number,
                closed=True,
            )
            self.streams.append(stream)
            self.stream_of[linear_map.name] = stream
        self._fold_piece(stream, linear_map, x, owner, owned=True)

    def _open(self, linear_map: LinearMap, source: Source) -> _Stream:
        stream = _Stream(source, {linear_map.name: linear_map}, self.pass_number)
        self.streams.append(stream)
        self.stream_of[linear_map.name] = stream
        young = [s for s in self.streams if s.born == self.pass_number and not s.closed]
        buffered = sum(x.numel() * x.element_size() for s in young for x in s.buffered)
        if len(young) > (_RECENT if buffered <= _RECENT_BYTES else _RECENT_LARGE):
            oldest = young[0]
            if all(oldest.seen.get(m, 0) == len(oldest.buffered) for m in oldest.members):
                self._release(oldest)
                oldest.closed = True
        return stream

    def _find(self, linear_map: LinearMap, x: Tensor, owner: int | Tensor) -> _Stream | None:
        """Find a stream without history whose first input is this very tensor, unchanged."""
        for stream in reversed(self.streams):
            if stream.born != self.pass_number:
                return None
            first = next(iter(stream.members.values()))
            if stream.closed or not stream.buffered or first.row_key != linear_map.row_key:
                continue
            same = stream.address == x.data_ptr() and _same(stream.buffered[0], x)
            if same and _same_owner(stream.owners[0], owner):
                return stream
        return None

    def _part(self, stream: _Stream, linear_map: LinearMap) -> None:
        """Give a layer a stream of its own, with the history it had in common."""
        seen = stream.seen.get(linear_map.name, 0)
        agreed = list(zip(stream.buffered[:seen], stream.owners[:seen], strict=True))
        del stream.members[linear_map.name]
        stream.seen.pop(linear_map.name, None)
        alone = self._open(linear_map, stream.source.copy())
        alone.closed = True
        for x, owner in agreed:
            self._fold(alone, x, owner, owned=False)

    def _release(self, stream: _Stream) -> None:
        for x, owner in zip(stream.buffered, stream.owners, strict=True):
            self._fold(stream, x, owner, owned=True)
        stream.buffered, stream.owners, stream.seen = [], [], {}

    def _end_of_pass(self) -> None:
        for stream in list(self.streams):
            for name, linear_map in list(stream.members.items()):
                if stream.seen.get(name, 0) < len(stream.buffered) and len(stream.members) > 1:
                    self._part(stream, linear_map)
            self._release(stream)
        # A split during this loop opened streams that hold nothing; the list above is complete.

    def _fold(self, stream: _Stream, x: Tensor, owner: int | Tensor, *, owned: bool) -> None:
        """Add the rows of `x` to the stream's statistics, concept by concept."""
        linear_map = next(iter(stream.members.values()))
        if not x.is_floating_point():
            of = f" (concept {self.groups[owner]!r})" if isinstance(owner, int) else ""
            raise DataError(f"Layer {linear_map.name!r} reads {x.dtype} values; expected floating point{of}.")
        step = linear_map.piece(x)
        # A picture without a batch dimension has channels first, which are no inputs to be taken one by one.
        if x.ndim < 2 or x.shape[0] <= step or linear_map.positions(x)[0] != x.shape[0]:
            self._fold_piece(stream, linear_map, x, owner, owned=owned)
            return
        for start in range(0, x.shape[0], step):
            some = owner if isinstance(owner, int) else owner[start : start + step]
            self._fold_piece(stream, linear_map, x[start : start + step], some, owned=False)

    def _fold_piece(
        self, stream: _Stream, linear_map: LinearMap, x: Tensor, owner: int | Tensor, *, owned: bool
    ) -> None:
        checked = isinstance(owner, int)
        if checked:  # every value counts, so the input itself can be checked: patches repeat each pixel
            _check_finite(x.reshape(1, -1, x.shape[-1]), linear_map.name, self.groups[owner])
        rows = linear_map.rows(x)
        wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
        parts = [
            (self.groups[g], part) for g, part in self._parts(linear_map, x, rows, owner) if part.shape[1]
        ]
        folding = [stream.source.statistics_of(name).folds(part.shape[1]) for name, part in parts]
        # Parts may stay as views of one owned tensor only if all of it stays: a few rows must not
        # hold a whole batch in memory.
        copies = not owned or any(folding)
        for (name, part), folds in zip(parts, folding, strict=True):
            kept = part.to(device=self.device or part.device, dtype=wide)
            if not checked:
                _check_finite(kept, linear_map.name, name)
            if copies and not folds and kept.data_ptr() == part.data_ptr():
                kept = kept.clone()
            stream.source.statistics_of(name).add(kept)

    def _parts(
        self, linear_map: LinearMap, x: Tensor, rows: Tensor, owner: int | Tensor
    ) -> Iterator[tuple[int, Tensor]]:
        if isinstance(owner, int):
            yield owner, rows
            return
        flat = spread_owner(
            linear_map.placed(owner, x).to(rows.device), linear_map.positions(x), linear_map.name
        )
        order = torch.argsort(flat, stable=True)
        ordered = flat[order]
        skipped = int((ordered < 0).sum())
        sizes = torch.bincount(ordered[skipped:], minlength=len(self.groups)).tolist()
        if skipped or not torch.equal(flat, ordered):
            rows = rows.index_select(1, order[skipped:])
        yield from enumerate(rows.split(sizes, 1))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _same_owner(a: int | Tensor, b: int | Tensor) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return a is b or (a.shape == b.shape and torch.equal(a, b))


def _check_finite(rows: Tensor, layer: str, concept: str) -> None:
    # The sum is finite unless a value is not, or the values are so large that they overflow it.
    if torch.isfinite(rows.sum()) or torch.isfinite(rows).all():
        return
    bad = ~torch.isfinite(rows)
    raise NonFiniteError(
        f"Layer {layer!r} reads NaN or infinity for concept {concept!r}: {int(bad.sum())} of "
        f"{bad.numel()} values in one batch. Check that concept's inputs and the layer before it."
    )
