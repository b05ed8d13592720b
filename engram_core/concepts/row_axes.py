"""Find out which layers read the positions of an argument, and along which of their dimensions.

A few inputs are run with fewer positions, and with one input more: a decoder whose source is shortened goes
on reading all of its target, however alike their lengths are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .batch import Batch, Key
from .trial_runs import Call, Heard, Prober

__all__ = ["Axis", "RowAxes", "apart", "prefix", "find_row_axes"]

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

    def axes_of(self, layer: str, call: int, dimensions: int) -> tuple[Axis, ...] | None:
        """Return the dimensions of one call; None if such a call was not heard.

        Args:
            layer: name of the layer.
            call: which of its calls in a pass, from 0.
            dimensions: how many index its rows.
        """
        calls = [axes for axes in self.layers.get(layer, []) if len(axes) == dimensions]
        if call < len(self.layers.get(layer, ())) and len(self.layers[layer][call]) == dimensions:
            return self.layers[layer][call]
        return calls[0] if calls and all(axes == calls[0] for axes in calls) else None


def prefix(name: str) -> str:
    """Return what arguments of one tower have in common: "decoder_" of "decoder_attention_mask".

    Args:
        name: of an argument.
    """
    return next((name.removesuffix(end) for end in _ENDINGS if name.endswith(end)), name)


def find_row_axes(
    probe: Prober, batch: Batch, keys: Sequence[Key], names: Mapping[Key, str]
) -> RowAxes | None:
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
    """Return whether the first of some arguments of one length may have another one than the rest.

    Args:
        probe: of the model.
        batch: some inputs.
        keys: the arguments.
        names: of all arguments.
    """
    few = batch.take(torch.arange(min(batch.size, _FEW)))
    own = frozenset(k for k in keys if prefix(names[k]) == prefix(names[keys[0]]))
    if len(own) == len(keys):
        return False
    for index in _fewer(few, keys[0]):
        if probe.run(few.map(lambda k, v, i=index: _part(few, k, v, own, i))) is not None:  # type: ignore[misc]
            return True
    return False
