"""Say for every row of every layer which concept it belongs to, whatever shape the layer reads.

A mask belongs to the positions of one argument of the model. Which layers read those positions, and along
which of their dimensions, is found out by running a few inputs with fewer positions and with one input more:
a decoder whose source is shortened goes on reading all of its target, however alike their lengths are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import DataError
from .inputs import Batch, Key
from .row_axes import Call, Heard, Prober

__all__ = ["Axis", "Owner", "RowAxes", "apart", "prefix", "row_axes", "spread_owner"]

_FEW = 3  # inputs that are run to find out
_TRIES = 12  # sets of arguments that are shortened together, at most
_ENDINGS = ("attention_mask", "input_ids", "inputs_embeds", "token_type_ids", "position_ids", "hidden_states",
            "padding_mask", "mask", "ids")  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """One of the dimensions that index a layer's rows.

    Attributes:
        inputs: whether it follows the number of inputs.
        of: the arguments whose positions it follows.
        major: where it is more than one of these, or inputs cut in parts: whether the inputs vary slowest;
            None if that could not be found out.
    """

    inputs: bool = False
    of: frozenset[Key] = frozenset()
    major: bool | None = True


@dataclass(frozen=True)
class RowAxes:
    """What indexes the rows of every layer, call by call.

    Attributes:
        layers: the dimensions of every call in one pass.
        blocks: the one dimension of the tokens that a block of experts distributes.
        blind: arguments whose positions could not be told from others.
    """

    layers: Mapping[str, list[tuple[Axis, ...]]]
    blocks: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)
    blind: frozenset[Key] = frozenset()

    def of(self, layer: str, call: int, dimensions: int) -> tuple[Axis, ...] | None:
        """Return the dimensions of one call; None if such a call was not heard."""
        calls = [axes for axes in self.layers.get(layer, []) if len(axes) == dimensions]
        if call < len(self.layers.get(layer, ())) and len(self.layers[layer][call]) == dimensions:
            return self.layers[layer][call]
        return calls[0] if calls and all(axes == calls[0] for axes in calls) else None


def prefix(name: str) -> str:
    """Return what arguments of one tower have in common: "decoder_" of "decoder_attention_mask"."""
    return next((name.removesuffix(end) for end in _ENDINGS if name.endswith(end)), name)


def row_axes(probe: Prober, batch: Batch, keys: Sequence[Key], names: Mapping[Key, str]) -> RowAxes | None:
    """Find out what indexes the rows of every layer.

    Args:
        probe: of the model.
        batch: some inputs; how they are divided must be known.
        keys: the arguments whose positions are masked.
        names: of all arguments.

    Returns:
        None if the model cannot run a few of the inputs.
    """
    whole = batch.cut.axis is None
    index = torch.arange(min(batch.size, _FEW))
    few = batch.take(index)
    heard = probe.run(few)
    if heard is None:
        return None
    more = heard if whole else probe.run(batch.take(torch.cat([index, index[:1]])))
    if more is None:
        return None
    shorter = {key: None if whole else _shortened(probe, few, heard, key, names) for key in keys}
    layers: dict[str, list[tuple[Axis, ...]]] = {}
    for name, calls in heard.items():
        others = [more, *(found for found in shorter.values() if found is not None)]
        if any(len(other.get(name, [])) != len(calls) for other in others):
            continue  # it is not called alike: not known
        layers[name] = [
            _axes(
                few.size,
                calls[i],
                more[name][i],
                {k: s[name][i] for k, s in shorter.items() if s is not None},
            )
            for i in range(len(calls))
        ]
    # An expert that is sent nothing in one of the passes reads the same tokens as its neighbours.
    blocks = {block: layers[name][0] for name, block in probe.blocks.items() if name in layers}
    return RowAxes(layers, blocks, frozenset(key for key, found in shorter.items() if found is None))


def _axes(inputs: int, call: Call, more: Call, shorter: Mapping[Key, Call]) -> tuple[Axis, ...]:
    found = []
    for place, size in enumerate(call.positions):
        of = {k for k, s in shorter.items() if _size(s, place) != size}
        follows = _size(more, place) != size
        major = _major(inputs, call, more, place) if follows else True
        found.append(Axis(follows, frozenset(of), major))
    return tuple(found)


def _size(call: Call, place: int) -> int:
    return call.positions[place] if place < len(call.positions) else -1


def _major(inputs: int, call: Call, more: Call, place: int) -> bool | None:
    """Whether the inputs vary slowest in a dimension: `more` has the first input once again, at the end."""
    if any(tuple(one.marks.shape[:-1]) != one.positions for one in (call, more)):
        return True  # patches: the inputs are a dimension of their own
    one, two = call.marks.movedim(place, 0), more.marks.movedim(place, 0)
    before, after = len(one), len(two)
    if before != inputs * (after - before) or one.shape[1:] != two.shape[1:]:
        return None

    def near(a: Tensor, b: Tensor) -> bool:
        return bool((a - b).norm() <= call.rounding * max(float(a.norm()), 1e-30))

    if near(one, two[:before]):
        return True
    parts = two.reshape(after - before, inputs + 1, *two.shape[1:])[:, :inputs]
    return False if near(one, parts.reshape(one.shape)) else None


def _shortened(probe: Prober, batch: Batch, heard: Heard, key: Key, names: Mapping[Key, str]) -> Heard | None:
    """Return what is heard when one argument has fewer positions, with as few others as the model allows."""
    for group in _groups(batch, key, names):
        for index in _fewer(batch, key):
            found = probe.run(batch.map(lambda k, v, g=group, i=index: _part(batch, k, v, g, i)))  # type: ignore[misc]
            if found is not None and any(
                [c.positions for c in found.get(name, [])] != [c.positions for c in calls]
                for name, calls in heard.items()
            ):
                return found
    return None


def _part(batch: Batch, key: Key, value: object, group: frozenset[Key], index: Tensor) -> object:
    if key not in group or not isinstance(value, Tensor):
        return value
    return value.index_select(1 - int(batch.cut.axis or 0), index.to(value.device))


def _fewer(batch: Batch, key: Key) -> Iterator[Tensor]:
    """Yield which positions are left: half, so that a layer that reads every second one shows it, or so."""
    length = _length(batch, key)
    for left in dict.fromkeys(((length + 1) // 2, length - 1)):
        if 0 < left < length:
            yield torch.arange(left)
    yield torch.cat([torch.arange(length), torch.tensor([length - 1])])


def _length(batch: Batch, key: Key) -> int:
    value = dict(batch.items())[key]
    return int(value.shape[1 - int(batch.cut.axis or 0)])


def _groups(batch: Batch, key: Key, names: Mapping[Key, str]) -> Iterator[frozenset[Key]]:
    """Yield sets of arguments to shorten: those of one tower by their names, then by and by more."""
    place = 1 - int(batch.cut.axis or 0)
    fits = [
        k
        for k, v in batch.items()
        if isinstance(v, Tensor) and v.ndim > 1 and v.shape[place] == _length(batch, key) and k != key
    ]
    own = [k for k in fits if prefix(names[k]) == prefix(names[key])]
    rest = sorted(fits, key=lambda k: k not in own)
    sets = [frozenset([key, *own])]
    for count in range(len(rest) + 1):
        sets += [frozenset([key, *some]) for some in itertools.combinations(rest, count)]
    yield from list(dict.fromkeys(sets))[:_TRIES]


def apart(probe: Prober, batch: Batch, keys: Sequence[Key], names: Mapping[Key, str]) -> bool:
    """Whether the first of some arguments of one length may have another one than the rest."""
    few = batch.take(torch.arange(min(batch.size, _FEW)))
    own = frozenset(k for k in keys if prefix(names[k]) == prefix(names[keys[0]]))
    if len(own) == len(keys):
        return False
    for index in _fewer(few, keys[0]):
        if probe.run(few.map(lambda k, v, i=index: _part(few, k, v, own, i))) is not None:  # type: ignore[misc]
            return True
    return False


# -- owners ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Owner:
    """Which concept every input of a batch belongs to, and which positions count.

    Attributes:
        inputs: (inputs,) numbers of concepts, −1 for what does not count.
        positions: by argument, which of its positions count, (inputs, positions) bool.
        loose: which positions count that are no argument's but the model's own, or None.
        axes: what indexes the layers' rows; None if it was not found out.
        alone: whether the batch has nothing that the positions could be mistaken for.
        single: whether the batch is one input that is never divided; `loose` may then have any shape.
    """

    inputs: Tensor
    positions: Mapping[Key, Tensor] = field(default_factory=dict)
    loose: Tensor | None = None
    axes: RowAxes | None = None
    alone: bool = True
    single: bool = False

    def to(self, device: torch.device) -> Owner:
        """Return the owner on another device."""
        return replace(
            self,
            inputs=self.inputs.to(device),
            positions={k: m.to(device) for k, m in self.positions.items()},
            loose=None if self.loose is None else self.loose.to(device),
        )

    def counted(self) -> Tensor:
        """Return the owner of every input, −1 for one of which no position counts."""
        masks = [*self.positions.values(), *([] if self.loose is None else [self.loose])]
        if not masks:
            return self.inputs
        if self.single:
            return torch.where(torch.stack([m.any() for m in masks]).any(), self.inputs, -1)
        some = torch.stack([m.any(1) for m in masks]).any(0)
        return torch.where(some, self.inputs, -1)

    def tokens(self, layer: str, block: str, total: int) -> Tensor:
        """Return the owner of every token that a block of experts distributes, (total,).

        Args:
            layer: name of the expert.
            block: path of the block.
            total: number of tokens, padding included.

        Raises:
            DataError: if that cannot be known.
        """
        axes = None if self.axes is None else self.axes.blocks.get(block)
        if axes is None or self.single or self.loose is not None:
            return self.rows(layer, 0, (total,))
        return self._by_axes(layer, axes, (total,))

    def rows(self, layer: str, call: int, positions: tuple[int, ...], *, read: int | None = None) -> Tensor:
        """Return the owner of every row of a layer, in the shape that indexes its rows.

        Args:
            layer: its name.
            call: which of its calls in this pass, from 0.
            positions: what indexes its rows (see `LinearMap.positions`).
            read: of a convolution over positions, how many it reads: it may have more places, and the owner
                is then that of what it reads.

        Raises:
            DataError: if that cannot be known.
        """
        if self.single:
            if self.loose is None:
                return self.inputs[0].expand(positions)
            flat = torch.where(self.loose, self.inputs, -1)
            if tuple(flat.shape) != positions[: flat.ndim]:
                raise _cannot(layer, positions, f"the mask is indexed by {tuple(flat.shape)}")
            return spread_owner(flat, positions, layer).reshape(positions)
        if self.loose is not None:
            flat = torch.where(self.loose, self.inputs[:, None], -1)
            return spread_owner(flat, positions, layer).reshape(positions)
        axes = None if self.axes is None else self.axes.of(layer, call, len(positions))
        blind = set(self.positions) & (set() if self.axes is None else self.axes.blind)
        if axes is None or (blind and self.alone):
            return self._by_shape(layer, positions)
        if blind:
            why = "the model runs with no other number of them"
            raise _cannot(
                layer, positions, f"which layers read the positions of {_said(blind)} is not known: {why}"
            )
        if read is not None and len(axes) == 2 and axes[1].of:
            positions = (positions[0], read)
        return self._by_axes(layer, axes, positions)

    def _by_shape(self, layer: str, positions: tuple[int, ...]) -> Tensor:
        """Match by shape where there is nothing else of that shape."""
        if not self.positions:
            return spread_owner(self.inputs, positions, layer).reshape(positions)
        if not self.alone:
            raise _cannot(
                layer,
                positions,
                f"it is not known whether those are the positions of {_said(self.positions)}",
            )
        mask = torch.stack(list(self.positions.values())).all(0)
        return spread_owner(torch.where(mask, self.inputs[:, None], -1), positions, layer).reshape(positions)

    def _by_axes(self, layer: str, axes: tuple[Axis, ...], positions: tuple[int, ...]) -> Tensor:
        inputs = len(self.inputs)
        number: Tensor | None = None
        places: list[tuple[Key, Tensor]] = []
        for dimension, (axis, size) in enumerate(zip(axes, positions, strict=True)):
            shape = [1] * len(positions)
            shape[dimension] = size
            steps = torch.arange(size, device=self.inputs.device).reshape(shape)
            lengths = {self.positions[k].shape[1] for k in axis.of}
            length = next(iter(lengths), 1)
            if axis.inputs:
                if axis.major is None or size % inputs or len(lengths) > 1:
                    raise _cannot(layer, positions, "the order of inputs and positions in them is not known")
                each = size // inputs
                number = steps // each if axis.major else steps % inputs
                steps = steps % each if axis.major else steps // inputs
                size = each
            if axis.of:
                if size != length or len(lengths) > 1:
                    raise _cannot(
                        layer,
                        positions,
                        f"{size} of them stand for the {length} positions of {_said(axis.of)}",
                    )
                places += [(key, steps) for key in axis.of]
        if number is None:
            return self._of_all(layer, positions)
        found = (self.inputs if places else self.counted())[number]
        for key, steps in places:
            found = torch.where(self.positions[key][number, steps], found, -1)
        return found.expand(positions)

    def _of_all(self, layer: str, positions: tuple[int, ...]) -> Tensor:
        """Give rows that no input has for itself, as those of a table, to the one concept there is."""
        names = self.inputs[self.inputs >= 0].unique()
        if len(names) > 1:
            raise _cannot(layer, positions, "no input of the batch has rows of its own there")
        return (names[0] if len(names) else torch.tensor(-1)).expand(positions)


def _said(keys: Iterator[Key] | frozenset[Key] | set[Key] | Mapping[Key, Tensor]) -> str:
    return " and ".join(sorted(f"argument {key!r}" for key in keys))


def _cannot(layer: str, positions: tuple[int, ...], why: str) -> DataError:
    return DataError(
        f"Layer {layer!r} has rows indexed by {positions}, and the mask or mix of concepts cannot be matched "
        f"to them: {why}. Leave the layer out (layers=…), or count every row (masks={{name: None}}, no mix)."
    )


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
        wanted = owner.reshape((*shape, *[1] * (len(positions) - len(shape))))
        return wanted.expand(positions).reshape(-1)
    if len(positions) == 1 and positions[0] == owner.numel():
        return owner.reshape(-1)  # positions flattened before the layer
    if len(shape) == 2 and positions == shape[:1]:
        # The positions were pooled before this layer: its one row per input counts if any position did.
        return spread_owner(owner.amax(1), positions, layer)
    raise DataError(
        f"Layer {layer!r} has rows indexed by {positions}, and the mask or mix of concepts is indexed by "
        f"{shape}: they cannot be matched. Leave the layer out, or record each concept without a mask "
        "(masks={name: None}; a batch's attention_mask is its mask otherwise)."
    )
