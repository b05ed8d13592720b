"""Record a model: one forward pass over all concepts, statistics of every covered layer's input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .attention import open_attention
from .concepts import Batch, Concept, ConceptSet, Inputs, batches, count_inputs
from .errors import DataError, EngramError, ModelMismatchError, NonFiniteError, suggest
from .identity import ModelIdentity
from .layers import LayerInfo, Slot, find_slots, list_layers, select_layers
from .statistics import Statistics
from .view import base_of, shared_copy

__all__ = ["BACKGROUND", "Progress", "Recording", "Source", "record"]

BACKGROUND = "(background)"
"""Name of the rows that belong to the total and to no concept."""

NEVER_CALLED = "never called in the recorded forward passes"
"""Reason for a layer that was listened to and that no input reached."""

Progress = Callable[[int, int | None, str], None]
"""Called with (done, total or None, what is being done)."""

_HELD = 16  # distinct inputs kept in mind while looking for layers that share one


@dataclass
class Source:
    """The stream of rows that one or several layers read.

    Attributes:
        columns: width of a row, without the bias column.
        groups: stacked maps (1 except for grouped convolutions).
        statistics: per concept name.
    """

    columns: int
    groups: int
    statistics: dict[str, Statistics] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Rows over all concepts and the background."""
        return sum(s.count for s in self.statistics.values())

    def of(self, concept: str) -> Statistics:
        """Return the concept's statistics, empty ones if it has put no row here."""
        return self.statistics.setdefault(concept, Statistics(self.groups, self.columns))

    def copy(self) -> Source:
        """Return a source that can grow on its own."""
        copied = {name: s.copy() for name, s in self.statistics.items()}
        return Source(self.columns, self.groups, copied)


@dataclass
class Recording:
    """What one forward pass over all concepts left behind.

    Attributes:
        concepts: names of the concepts, in order (without the background).
        sources: the distinct row streams.
        source_of: index into `sources` for every recorded layer, in forward order.
        counts: number of inputs per concept (and of the background).
        layers: coverage of the whole model, with reasons for what is skipped.
        identity: the model this was made from.
    """

    concepts: tuple[str, ...]
    sources: list[Source]
    source_of: dict[str, int]
    counts: dict[str, int]
    layers: list[LayerInfo]
    identity: ModelIdentity

    def rows(self, layer: str, concept: str) -> int:
        """Return how many rows `concept` put into `layer`."""
        if layer not in self.source_of:
            raise suggest("layer", layer, self.source_of)
        statistics = self.sources[self.source_of[layer]].statistics.get(concept)
        return 0 if statistics is None else statistics.count

    @property
    def nbytes(self) -> int:
        """Bytes that the statistics take."""
        total = 0
        for source in self.sources:
            for s in source.statistics.values():
                parts = [*s.chunks, *(t for t in (s.moment, s.total) if t is not None)]
                total += sum(p.numel() * p.element_size() for p in parts)
        return total

    def merge(self, other: Recording) -> Recording:
        """Return the recording of both inputs together; neither is changed.

        Concepts of one name are joined. Equal to recording both in one pass.

        Raises:
            ModelMismatchError: if the two come from different models or layers.
        """
        if self.identity.digest != other.identity.digest:
            raise ModelMismatchError("The two recordings come from different models; they cannot be merged.")
        layers = list(dict.fromkeys((*self.source_of, *other.source_of)))
        different = [n for n in layers if not (self._listened(n) and other._listened(n))]
        if different:
            raise ModelMismatchError(
                f"The two recordings cover different layers ({', '.join(different[:4])}). "
                "Record both with the same layers."
            )
        sources: list[Source] = []
        source_of: dict[str, int] = {}
        places: dict[tuple[int | None, int | None], int] = {}
        for layer in layers:
            # Layers that share rows in one recording but not in the other do not share them in both.
            pair = (self.source_of.get(layer), other.source_of.get(layer))
            if pair not in places:
                parts = [r.sources[i] for r, i in zip((self, other), pair, strict=True) if i is not None]
                joined = parts[0].copy()
                for part in parts[1:]:
                    for name, statistics in part.statistics.items():
                        joined.of(name).absorb(statistics)
                places[pair] = len(sources)
                sources.append(joined)
            source_of[layer] = places[pair]
        counts = dict(self.counts)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        concepts = tuple(dict.fromkeys((*self.concepts, *other.concepts)))
        infos = [
            theirs if mine.reason == NEVER_CALLED else mine
            for mine, theirs in zip(self.layers, other.layers, strict=True)
        ]
        return Recording(concepts, sources, source_of, counts, infos, self.identity)

    def _listened(self, layer: str) -> bool:
        """Whether `layer` was listened to, even if no input ever reached it."""
        silent = {info.name for info in self.layers if info.reason == NEVER_CALLED}
        return layer in self.source_of or layer in silent

    def save(self, path: Any) -> None:
        """Write one safetensors file (see `storage`)."""
        from .storage import save_recording

        save_recording(self, path)

    @staticmethod
    def load(path: Any) -> Recording:
        """Read a file written by `save`."""
        from .storage import load_recording

        return load_recording(path)


@dataclass
class _Stream:
    """A source while it is being recorded."""

    source: Source
    members: dict[str, Slot]
    born: int  # number of the forward pass that created it
    address: int = 0
    held: list[Tensor] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    closed: bool = False  # no further layer may join


class _Recorder:
    """Listens to a view's ports and sorts what it hears into streams.

    Layers that read the same tensor share one stream. Sharing is never assumed: every input is
    compared with the stream's own copy before it counts as shared, at every call, and a layer whose
    input differs once (an in-place operation in between, another branch) goes its own way from there
    with a copy of the common history.
    """

    def __init__(self, slots: list[Slot], device: torch.device | None) -> None:
        self.slots = slots
        self.device = device
        self.streams: list[_Stream] = []
        self.stream_of: dict[str, _Stream] = {}
        self.pass_number = 0
        self.groups: tuple[str, ...] = ()
        self.owner: int | Tensor = 0

    def listen(self, view: nn.Module) -> None:
        for slot in self.slots:
            view.get_submodule(slot.port).register_forward_pre_hook(self._hook(slot), with_kwargs=True)

    def _hook(self, slot: Slot) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)
            if x is None:
                raise DataError(f"Layer {slot.name!r} was called without a tensor; nothing to record.")
            self._hear(slot, x.detach())

        return hook

    def forward(self, view: nn.Module, batch: Batch, owner: int | Tensor) -> None:
        """Run one batch; `owner` says which group each input or position belongs to (−1: none)."""
        self.pass_number += 1
        self.owner = owner
        view(*batch.args, **batch.kwargs)
        self._end_of_pass()

    def _hear(self, slot: Slot, x: Tensor) -> None:
        stream = self.stream_of.get(slot.name)
        if stream is None:
            stream = self._find(slot, x)
            if stream is not None:
                stream.members[slot.name] = slot
                stream.seen[slot.name] = 1
                self.stream_of[slot.name] = stream
                return
            stream = self._open(slot, Source(slot.columns, slot.groups))
        fresh = stream.born == self.pass_number and not stream.closed
        if len(stream.members) == 1 and not fresh and not stream.held:
            self._fold(stream, x, owned=False)
            return
        position = stream.seen.get(slot.name, 0)
        if position < len(stream.held):
            if not _same(stream.held[position], x):
                self._part(stream, slot)
                self._hear(slot, x)
                return
        else:
            stream.held.append(x.clone())
            stream.address = x.data_ptr()
        stream.seen[slot.name] = position + 1
        if not fresh and all(stream.seen.get(m, 0) == len(stream.held) for m in stream.members):
            self._release(stream)

    def _open(self, slot: Slot, source: Source) -> _Stream:
        stream = _Stream(source, {slot.name: slot}, self.pass_number)
        self.streams.append(stream)
        self.stream_of[slot.name] = stream
        young = [s for s in self.streams if s.born == self.pass_number and not s.closed]
        if len(young) > _HELD:
            oldest = young[0]
            if all(oldest.seen.get(m, 0) == len(oldest.held) for m in oldest.members):
                self._release(oldest)
                oldest.closed = True
        return stream

    def _find(self, slot: Slot, x: Tensor) -> _Stream | None:
        """Find a stream without history whose first input is this very tensor, unchanged."""
        for stream in reversed(self.streams):
            if stream.born != self.pass_number:
                return None
            first = next(iter(stream.members.values()))
            if stream.closed or not stream.held or first.row_key != slot.row_key:
                continue
            if stream.address == x.data_ptr() and _same(stream.held[0], x):
                return stream
        return None

    def _part(self, stream: _Stream, slot: Slot) -> None:
        """Give a layer a stream of its own, with the history it had in common."""
        agreed = stream.held[: stream.seen.get(slot.name, 0)]
        del stream.members[slot.name]
        stream.seen.pop(slot.name, None)
        alone = self._open(slot, stream.source.copy())
        alone.closed = True
        for x in agreed:
            self._fold(alone, x, owned=False)

    def _release(self, stream: _Stream) -> None:
        for x in stream.held:
            self._fold(stream, x, owned=True)
        stream.held, stream.seen = [], {}

    def _end_of_pass(self) -> None:
        for stream in list(self.streams):
            for name, slot in list(stream.members.items()):
                if stream.seen.get(name, 0) < len(stream.held) and len(stream.members) > 1:
                    self._part(stream, slot)
            self._release(stream)
        # A split during this loop opened streams that hold nothing; the list above is complete.

    def _fold(self, stream: _Stream, x: Tensor, *, owned: bool) -> None:
        """Add the rows of `x` to the stream's statistics, concept by concept."""
        slot = next(iter(stream.members.values()))
        if not x.is_floating_point():
            raise DataError(f"Layer {slot.name!r} reads {x.dtype} values; expected floating point.")
        step = slot.piece(x)
        if x.ndim < 2 or x.shape[0] <= step:
            self._fold_piece(stream, slot, x, self.owner, owned=owned)
            return
        for start in range(0, x.shape[0], step):
            owner = self.owner if isinstance(self.owner, int) else self.owner[start : start + step]
            self._fold_piece(stream, slot, x[start : start + step], owner, owned=False)

    def _fold_piece(
        self, stream: _Stream, slot: Slot, x: Tensor, owner: int | Tensor, *, owned: bool
    ) -> None:
        checked = isinstance(owner, int)
        if checked:  # every value counts, so the input itself can be checked: patches repeat each pixel
            _check_finite(x.reshape(1, -1, x.shape[-1]), slot.name, self.groups[owner])
        rows = slot.rows(x)
        wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
        parts = [(self.groups[g], part) for g, part in self._parts(slot, x, rows, owner) if part.shape[1]]
        folding = [stream.source.of(name).folds(part.shape[1]) for name, part in parts]
        # Parts may stay as views of one owned tensor only if all of it stays: a few rows must not
        # hold a whole batch in memory.
        copies = not owned or any(folding)
        for (name, part), folds in zip(parts, folding, strict=True):
            kept = part.to(device=self.device or part.device, dtype=wide)
            if not checked:
                _check_finite(kept, slot.name, name)
            if copies and not folds and kept.data_ptr() == part.data_ptr():
                kept = kept.clone()
            stream.source.of(name).add(kept)

    def _parts(
        self, slot: Slot, x: Tensor, rows: Tensor, owner: int | Tensor
    ) -> Iterator[tuple[int, Tensor]]:
        if isinstance(owner, int):
            yield owner, rows
            return
        flat = spread_owner(owner.to(rows.device), slot.positions(x), slot.name)
        order = torch.argsort(flat, stable=True)
        ordered = flat[order]
        skipped = int((ordered < 0).sum())
        sizes = torch.bincount(ordered[skipped:], minlength=len(self.groups)).tolist()
        if skipped or not torch.equal(flat, ordered):
            rows = rows.index_select(1, order[skipped:])
        yield from enumerate(rows.split(sizes, 1))


def spread_owner(owner: Tensor, positions: tuple[int, ...], layer: str) -> Tensor:
    """Spread an owner per input or per position over the rows of a layer.

    Args:
        owner: (inputs,) or (inputs, positions), integers; −1 does not count.
        positions: what indexes the layer's rows, e.g. (inputs, positions).
        layer: name for error messages.

    Returns:
        One integer per row, flattened in the order of the rows.

    Raises:
        DataError: if the layer's rows cannot be matched to inputs and positions.
    """
    shape = tuple(owner.shape)
    if positions[: len(shape)] == shape:
        wanted = owner.reshape(*shape, *[1] * (len(positions) - len(shape)))
        return wanted.expand(positions).reshape(-1)
    if len(positions) == 1 and positions[0] == owner.numel():
        return owner.reshape(-1)  # positions flattened before the layer
    if len(shape) == 2 and positions == shape[:1]:
        # The positions were pooled before this layer: its one row per input counts if any position did.
        return spread_owner(owner.amax(1), positions, layer)
    raise DataError(
        f"Layer {layer!r} has rows indexed by {positions}, and the mask or mix of concepts is indexed by "
        f"{shape}: they cannot be matched. Leave the layer out, or record each concept without a mask."
    )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _check_finite(rows: Tensor, layer: str, concept: str) -> None:
    # The sum is finite unless a value is not, or the values are so large that they overflow it.
    if torch.isfinite(rows.sum()) or torch.isfinite(rows).all():
        return
    bad = ~torch.isfinite(rows)
    raise NonFiniteError(
        f"Layer {layer!r} reads NaN or infinity for concept {concept!r}: {int(bad.sum())} of "
        f"{bad.numel()} values in one batch. Check that concept's inputs and the layer before it."
    )


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


def _mask_batches(mask: Any, inputs: Inputs, batch_size: int) -> Iterator[Any]:
    """Cut a mask as its inputs are cut: a tensor by batch size, a list by batches."""
    if isinstance(mask, Tensor) or hasattr(mask, "__array__"):
        yield from torch.as_tensor(mask).split(batch_size)
    else:
        yield from mask


def _labelled(
    concepts: ConceptSet, masks: Mapping[str, Any], batch_size: int
) -> Iterator[tuple[str, Batch, Any]]:
    """Yield every batch with its concept's name and its mask."""
    for name in concepts:
        yield from _one_concept(name, concepts[name].record, masks.get(name), batch_size)
    if concepts.background is not None:
        yield from _one_concept(BACKGROUND, concepts.background, masks.get(BACKGROUND), batch_size)


def _one_concept(name: str, inputs: Inputs, mask: Any, batch_size: int) -> Iterator[tuple[str, Batch, Any]]:
    parts = None if mask is None else _mask_batches(mask, inputs, batch_size)
    for batch in batches(inputs, batch_size=batch_size, label=name):
        for label, tensor in batch.tensors():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise NonFiniteError(f"Concept {name!r}: {label} holds NaN or infinity. Clean the inputs.")
        part = None
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


def _mixed(
    stream: Iterator[tuple[str, Batch, Any]], index: Mapping[str, int], batch_size: int
) -> Iterator[tuple[str, Batch, int | Tensor]]:
    """Join small batches of different concepts into full ones."""
    waiting: list[tuple[Batch, Tensor]] = []
    key: tuple | None = None
    names: list[str] = []

    def flush() -> Iterator[tuple[str, Batch, int | Tensor]]:
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


def record(
    model: nn.Module,
    concepts: ConceptSet | Mapping[str, Inputs | Concept],
    *,
    masks: Mapping[str, Any] | None = None,
    layers: str | Iterable[str] | None = None,
    blocks: Iterable[int] | None = None,
    batch_size: int = 256,
    mix: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Record what every covered layer reads, for all concepts, in one forward pass.

    The model is used in evaluation mode through a view: its own mode, hooks and weights stay as they
    are, other threads may use it meanwhile. Memory is bounded by the statistics (at most one
    second moment per concept and distinct layer input), not by the data. SCIENCE.md sections 1 and 3.

    Args:
        model: any module; it is called as ``model(*args, **kwargs)`` with each batch.
        concepts: a ConceptSet, or a mapping from names to inputs (see `concepts`).
        masks: per concept, which inputs (shape (inputs,)) or positions (shape (inputs, positions))
            count; a tensor, or one per batch if the inputs are batches. Default: all.
        layers: which layers (see `layers.select_layers`); default all covered ones.
        blocks: only layers whose first number in the path is one of these.
        batch_size: largest number of inputs per forward pass.
        mix: let different concepts share a forward pass. Faster for many small concepts; every
            layer's input must then have the inputs as its first dimension.
        device: where statistics are kept; default: where the model is.
        progress: called with (done, total or None, text) after every batch.

    Raises:
        DataError: an empty concept, a mask that does not fit, fewer than one row.
        NonFiniteError: NaN or infinity; names layer and concept.
        CoverageError: no layer to record.
    """
    concepts = ConceptSet.of(concepts)
    if BACKGROUND in concepts:
        raise DataError(f"{BACKGROUND!r} is the name of the rows that are no concept; choose another name.")
    masks = dict(masks or {})
    names = [*concepts, *([BACKGROUND] if concepts.background is not None else [])]
    for name in masks:
        if name not in names:
            raise suggest("concept", name, names)
    base = base_of(model)
    slots = find_slots(base)
    chosen = set(select_layers([s.name for s in slots], layers, blocks))
    slots = [s for s in slots if s.name in chosen]
    place = next((p.device for p in base.parameters()), torch.device("cpu"))
    recorder = _Recorder(slots, None if device is None else torch.device(device))
    recorder.groups = tuple(names)
    index = {name: i for i, name in enumerate(names)}
    counts = dict.fromkeys(names, 0)
    sizes = [count_inputs(c.record, label=name) for name, c in concepts.items()]
    sizes += [count_inputs(concepts.background, label=BACKGROUND)] if concepts.background is not None else []
    total = None if any(s is None for s in sizes) else sum(s for s in sizes if s is not None)

    def counted() -> Iterator[tuple[str, Batch, Any]]:
        for name, batch, mask in _labelled(concepts, masks, batch_size):
            counts[name] += batch.size
            yield name, batch, mask

    def plain() -> Iterator[tuple[str, Batch, int | Tensor]]:
        for name, batch, mask in counted():
            yield name, batch, _as_owner(mask, index[name], batch, name)

    view = shared_copy(base)
    open_attention(view)
    view.eval()
    recorder.listen(view)
    done = 0
    with torch.no_grad():
        for name, batch, owner in _mixed(counted(), index, batch_size) if mix else plain():
            try:
                recorder.forward(view, batch.to(place), owner)
            except EngramError:
                raise
            except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
                    ValueError) as error:  # fmt: skip
                shapes = ", ".join(f"{label} {tuple(t.shape)} {t.dtype}" for label, t in batch.tensors())
                raise DataError(
                    f"{type(base).__name__} could not run the inputs of concept {name!r} ({shapes}): {error}"
                ) from error
            done += batch.size
            if progress is not None:
                progress(done, total, f"recording {name}")
    return _finish(recorder, base, tuple(concepts), counts)


def _finish(
    recorder: _Recorder, base: nn.Module, concepts: tuple[str, ...], counts: dict[str, int]
) -> Recording:
    heard = [name for name in recorder.stream_of]
    silent = {s.name for s in recorder.slots} - set(heard)
    infos = [
        LayerInfo(i.name, i.kind, i.width, i.outputs, False, NEVER_CALLED) if i.name in silent else i
        for i in list_layers(base)
    ]
    for concept in concepts:
        if not any(s.source.of(concept).count for s in recorder.streams):
            raise DataError(f"Concept {concept!r} put no row into any layer: its mask leaves nothing.")
    streams = [s for s in recorder.streams if s.members]
    places = {id(s): i for i, s in enumerate(streams)}
    source_of = {name: places[id(recorder.stream_of[name])] for name in heard}
    return Recording(concepts, [s.source for s in streams], source_of, counts, infos, ModelIdentity(base))
