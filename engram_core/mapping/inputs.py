"""The inputs of a map: a stated, seeded sample, and one pass of a model over them that is listened to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..concepts.batches import Reader
from ..concepts.concepts import ConceptSet
from ..concepts.mixing import BatchWithOwner, mixed
from ..concepts.row_owners import Owner, spread_owner
from ..concepts.tasks import Subject
from ..editing.live_edit import LiveEdit, apply_edit
from ..errors import DataError, suggest
from ..models.layers import LinearMap
from ..models.packed_attention import open_attention
from ..models.ports import hear_ports
from ..models.view import base_of, device_of, shared_copy
from ..numerics.precision import exactly

__all__ = ["MapInputs", "answers", "draw_inputs", "listen", "some_concepts"]

PER_CONCEPT, MOST, CONCEPTS = 40, 600, 24
_BATCH = 64


@dataclass(frozen=True)
class MapInputs:
    """A sample of single inputs, in the order of their concepts.

    Attributes:
        concept: the concept of each input.
        number: its number among that concept's inputs, from 1.
        available: how many inputs each of these concepts has.
        text: the input's text; "" where inputs are no texts.
        seed: of the draw.
        concepts: the set that the numbers count in.
    """

    concept: tuple[str, ...]
    number: tuple[int, ...]
    available: dict[str, int]
    text: tuple[str, ...]
    seed: int
    concepts: ConceptSet = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.concept)

    @property
    def names(self) -> tuple[str, ...]:
        """The concepts that inputs were drawn from, in order."""
        return tuple(self.available)

    def singles(self) -> ConceptSet:
        """Return the set in which every input is a concept of its own."""
        return self.concepts.singles([(c, n - 1) for c, n in zip(self.concept, self.number, strict=True)])

    def portions(self, size: int) -> Iterator[MapInputs]:
        """Yield these inputs `size` at a time."""
        for start in range(0, len(self), size):
            yield self._part(slice(start, start + size))

    def first(self, count: int) -> MapInputs:
        """Return the first of these inputs."""
        return self._part(slice(count))

    def _part(self, part: slice) -> MapInputs:
        return replace(self, concept=self.concept[part], number=self.number[part], text=self.text[part])

    def table(self) -> pd.DataFrame:
        """Return one row per input: concept, number, text."""
        return pd.DataFrame({"concept": self.concept, "number": self.number, "text": self.text})


def some_concepts(
    names: Iterable[str], chosen: Iterable[str] = (), *, most: int = CONCEPTS, seed: int = 0
) -> tuple[str, ...]:
    """Return all names if they are few, else the chosen ones and a seeded draw of others, in order.

    Args:
        names: the concepts there are.
        chosen: those to be among them (the first `most`).
        most: how many are few.
        seed: of the draw.

    Raises:
        UnknownNameError: if a chosen one is not there.
    """
    known, wanted = list(names), list(dict.fromkeys(chosen))
    for name in wanted:
        if name not in known:
            raise suggest("concept", name, known)
    if len(known) <= most:
        return tuple(known)
    wanted = wanted[:most]
    rest = [name for name in known if name not in set(wanted)]
    drawn = np.random.default_rng(seed).permutation(len(rest))[: most - len(wanted)]
    kept = {*wanted, *(rest[i] for i in drawn)}
    return tuple(name for name in known if name in kept)


def draw_inputs(
    subject: Subject,
    concepts: Iterable[str] | None = None,
    *,
    per_concept: int = PER_CONCEPT,
    most: int = MOST,
    recorded: bool = False,
    seed: int = 0,
) -> MapInputs:
    """Draw inputs for a map, as many of each concept as the limits allow.

    Args:
        subject: model and concepts. Held-out inputs are drawn, as the criteria use them (a text concept
            without any gives its recorded ones).
        concepts: from these; default `some_concepts` of all.
        per_concept: most inputs of one concept.
        most: most inputs in all; it lowers what each concept gives.
        recorded: draw from the recorded inputs instead.
        seed: of the draw. The same seed with a larger limit gives the same inputs and more.

    Returns:
        The drawn inputs, with the concept and the number of each.

    Raises:
        DataError: no held-out inputs, or inputs that cannot be indexed.
        UnknownNameError: for a concept that is not there.
    """
    if per_concept < 1 or most < 1:
        raise DataError(f"The limits must be 1 or more; found per_concept={per_concept}, most={most}.")
    every = list(subject.concepts)
    names = some_concepts(every) if concepts is None else tuple(dict.fromkeys(concepts))
    for name in names:
        if name not in every:
            raise suggest("concept", name, every)
    if not names:
        raise DataError("A map needs at least one concept; found none.")
    source = subject.concepts if recorded else subject.concepts.held_out()
    sizes = source.sizes()
    each = max(1, min(per_concept, most // len(names)))
    picked: list[tuple[str, int]] = []
    for name in names:
        order = np.random.default_rng([seed, every.index(name)]).permutation(sizes[name])
        picked += [(name, int(number)) for number in np.sort(order[:each])]
    records = {name: source[name].record for name in names}
    return MapInputs(
        tuple(name for name, _ in picked),
        tuple(number + 1 for _, number in picked),
        {name: sizes[name] for name in names},
        tuple(_text(records[name], number) for name, number in picked),
        seed,
        source,
    )


def _text(record: Any, number: int) -> str:
    item = record[number] if isinstance(record, tuple) else None
    return str(getattr(item, "text", ""))


# -- one pass, listened to -------------------------------------------------------------------------


def _private(model: nn.Module) -> nn.Module:
    """Return a view that computes what `model` computes and that nobody else holds."""
    control = getattr(model, "engram_edit", None)
    if not isinstance(control, LiveEdit):
        return shared_copy(model)
    if not control.on:
        return shared_copy(base_of(model))
    view = apply_edit(control.atlas, control.edit, model)
    if control.report().layers != control.edit.layers:
        view.engram_edit.only(control.report().layers)  # type: ignore[union-attr,operator]
    return view


def _stream(model: nn.Module, inputs: MapInputs) -> Iterator[BatchWithOwner]:
    singles = inputs.singles()
    prepared = singles.prepared(base_of(model))
    if prepared is not None:
        return prepared[1]
    index = {str(i): i for i in range(len(inputs))}
    reader = Reader(model, batch_size=_BATCH, axis=singles.batch_axis)
    return mixed(reader.parts(singles, {}), index, reader)


Hear = Callable[[LinearMap, Tensor, Tensor], None]
"""Called with a layer, what it reads, and the number of the input behind each of the first dimensions."""


@exactly
def listen(model: nn.Module, inputs: MapInputs, linear_maps: Sequence[LinearMap], hear: Hear) -> None:
    """Run a model over inputs and hand what each layer reads to `hear`.

    Args:
        model: the base or an edited view; it is run through a private view of its own.
        inputs: what to run.
        linear_maps: the layers to listen to; no fused experts.
        hear: see `Hear`; owners have the shape (inputs,) or (inputs, positions), or that which indexes the
            layer's rows; −1 does not count.
    """
    view = _private(model)
    open_attention(view)
    view.eval()
    owner: list[Tensor | Owner] = []
    calls: dict[str, int] = {}

    def read(linear_map: LinearMap, x: Tensor, _others: tuple[Any, ...]) -> None:
        call = calls.get(linear_map.name, 0)
        calls[linear_map.name] = call + 1
        one = owner[0]
        mine = one.rows(linear_map.name, call, linear_map.positions(x)) if isinstance(one, Owner) else one
        hear(linear_map, x, mine)

    hear_ports(view, linear_maps, read)
    place = device_of(base_of(model))
    with torch.no_grad():
        for _, batch, owners in _stream(model, inputs):
            if isinstance(owners, int):
                owners = torch.full((batch.size,), owners)
            owner[:] = [owners.to(place)]
            calls.clear()
            there = batch.to(place).unshared()
            view(*there.args, **there.kwargs)


def owners_of(linear_map: LinearMap, x: Tensor, owner: Tensor) -> Tensor:
    """Return the number of the input behind every row of a layer."""
    return spread_owner(linear_map.placed(owner, x), linear_map.positions(x), linear_map.name)


# -- what the model says ---------------------------------------------------------------------------


def answers(subject: Subject, inputs: MapInputs, model: nn.Module | None = None) -> tuple[str, ...]:
    """Return what a model says to every input.

    For a classifier the class; for a language model "right" or "wrong" (whether the greedy answer is the
    text's own), and "" for a text without a question.

    Args:
        subject: whose task reads the outputs.
        inputs: what to ask.
        model: default the subject's.
    """
    return subject.task.answers(subject.model if model is None else model, inputs.singles())
