"""Turn concepts into batches as one model reads them, with what counts of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError
from .batch import Batch, Key, check_values, pieces
from .batch_axis import argument_names, cut_of
from .concepts import BACKGROUND, ConceptSet
from .inputs import Inputs, is_set, sets_of
from .masks import as_mask, is_one_tower, lies_along, no_mask, positions_of
from .row_axes import RowAxes, apart, find_row_axes, prefix
from .row_owners import Owner
from .trial_runs import Prober

__all__ = ["Part", "Reader", "lying"]


@dataclass(frozen=True)
class Part:
    """A batch of one concept.

    Attributes:
        concept: its name.
        batch: the inputs.
        counts: which inputs count, (inputs,) bool; None for all.
        positions: which positions of an argument count, (inputs, positions) bool.
        loose: the same for positions that no argument has but the model itself.
    """

    concept: str
    batch: Batch
    counts: Tensor | None
    positions: Mapping[Key, Tensor]
    loose: Tensor | None

    @property
    def whole(self) -> bool:
        """Whether every row counts."""
        return self.counts is None and not self.positions and self.loose is None


class Reader:
    """Reads concepts as one model takes them: what was found out about it is found out once.

    Args:
        model: the model that the batches are for.
        batch_size: most inputs in one call.
        axis: see `batch_axis.cut_of`.
    """

    def __init__(self, model: nn.Module, *, batch_size: int = 256, axis: int | str | None = "auto"):
        whole = hasattr(batch_size, "__index__") and not isinstance(batch_size, bool)
        if not whole or batch_size < 1:
            raise DataError(f"batch_size is a whole number of at least 1; found {batch_size!r}.")
        if isinstance(axis, bool) or axis not in (0, 1, None, "auto"):
            raise DataError(
                "batch_axis is 0 or 1, the dimension along which the inputs lie; None if every set is "
                "one input; "
                f"or 'auto'; found {axis!r}."
            )
        self.model = model
        self.batch_size = int(batch_size)
        self.axis = axis
        self._probe: Prober | None = None
        self._known: dict[tuple, RowAxes | None] = {}

    # -- batches ----------------------------------------------------------------------------------

    def sets(self, inputs: Inputs, name: str) -> Iterator[tuple[Batch, bool]]:
        """Yield sets of inputs with how they are divided, and whether they may be.

        Args:
            inputs: see `inputs`.
            name: of the concept, for messages.
        """
        for batch, whole in sets_of(inputs, name, self.batch_size):
            # Vectors of a list were put together here, so how they lie is known.
            known = batch.cut.along is not None or batch.cut.axis is None
            yield batch if known else batch.divided(cut_of(self.model, batch, self.axis)), whole
            del batch  # here and below: what was read is let go before the next is made

    def batches(self, inputs: Inputs, name: str) -> Iterator[Batch]:
        """Yield the batches of a concept's inputs.

        Args:
            inputs: see `inputs`.
            name: of the concept, for messages.

        Raises:
            DataError: if there is nothing, or a batch is of no known form.
        """
        found = 0
        for batch, divisible in self.sets(inputs, name):
            found += batch.size
            if divisible:
                yield from pieces(batch, self.batch_size)
            else:
                yield batch
            del batch
        if not found:
            again = " An iterator can be read only once." if isinstance(inputs, Iterator) else ""
            raise DataError(f"Concept {name!r} is empty: it needs at least one input.{again}")

    def count(self, inputs: Inputs, name: str) -> int | None:
        """Return the number of inputs if it can be known without consuming them, else None.

        Args:
            inputs: see `inputs`.
            name: of the concept, for messages.
        """
        if is_set(inputs) or isinstance(inputs, list):
            return sum(batch.size for batch, _ in self.sets(inputs, name))
        return None

    # -- masks ------------------------------------------------------------------------------------

    def parts(self, concepts: ConceptSet, masks: Mapping[str, Any]) -> Iterator[Part]:
        """Yield every batch of every concept and of the background, with what counts of it.

        Args:
            concepts: the concepts.
            masks: which inputs or positions count, by concept.
        """
        for name in concepts:
            yield from self._concept(name, concepts[name].record, masks)
        if concepts.background is not None:
            yield from self._concept(BACKGROUND, concepts.background, masks)

    def _concept(self, name: str, inputs: Inputs, masks: Mapping[str, Any]) -> Iterator[Part]:
        given = masks.get(name)
        by_argument = given if isinstance(given, Mapping) else {None: given}
        cut = {k: self._cut_mask(m, inputs, name) for k, m in by_argument.items() if m is not None}
        for batch in self.batches(inputs, name):
            check_values(batch, name)
            found = {}
            for key, parts in cut.items():
                found[key] = next(parts, None)
                if found[key] is None:
                    raise DataError(f"Concept {name!r}: the mask is shorter than the inputs.")
            if name in masks:  # one that is given as None says that everything counts, padding included
                yield self._masked(name, batch, found)
            else:
                found_here = self._padding(batch)
                if batch.cut.axis is None and found_here:
                    yield Part(name, batch, None, {}, self._only(name, batch, found_here))
                else:
                    yield Part(name, batch, None, found_here, None)
            del batch
        if any(next(parts, None) is not None for parts in cut.values()):
            raise DataError(f"Concept {name!r}: the mask is longer than the inputs.")

    def _cut_mask(self, mask: Any, inputs: Inputs, name: str) -> Iterator[Any]:
        """Cut a mask as its inputs are cut: one tensor by batch size, a list by batches."""
        if isinstance(mask, list | tuple) and is_set(inputs) and not any(hasattr(m, "shape") for m in mask):
            mask = as_mask(mask, name)  # numbers, and no list of one mask for every batch
        if isinstance(mask, Tensor) or hasattr(mask, "__array__"):
            mask = as_mask(mask, name)
            sets = self.sets(inputs, "") if is_set(inputs) else iter(())
            undivided = any(batch.cut.axis is None for batch, _ in sets)
            return iter([mask]) if undivided else iter(mask.split(self.batch_size))
        if isinstance(mask, str | bytes) or not isinstance(mask, Iterable):
            raise no_mask(mask, name)
        return iter(mask)

    def _masked(self, name: str, batch: Batch, masks: Mapping[Any, Any]) -> Part:
        counts, loose, positions = None, None, dict[Key, Tensor]()
        arguments = dict(batch.items())
        for key, given in masks.items():
            mask = as_mask(given, name)
            if key is not None and key not in arguments:
                raise DataError(
                    f"Concept {name!r}: a mask is for argument {key!r}, and its inputs have only "
                    f"{', '.join(map(repr, arguments))}."
                )
            if batch.cut.axis is not None and (mask.ndim not in (1, 2) or mask.shape[0] != batch.size):
                raise DataError(
                    f"Concept {name!r}: a mask must have shape ({batch.size},) or ({batch.size}, "
                    f"positions) for "
                    f"this batch; found {tuple(mask.shape)}."
                )
            mask = mask.bool()
            place = key if key is not None else self._argument_of(name, batch, mask)
            if batch.cut.axis is None:
                loose = self._only(name, batch, {k: torch.as_tensor(m).bool() for k, m in masks.items()})
            elif mask.ndim == 1:
                counts = mask
            elif place is None:
                loose = mask
            else:
                length = positions_of(batch, place)
                if length != mask.shape[1]:
                    raise DataError(
                        f"Concept {name!r}: the mask of argument {place!r} is for {mask.shape[1]} "
                        f"positions; the "
                        f"argument has {'none' if length is None else length}."
                    )
                if not bool(mask.all()):
                    positions[place] = mask
        return Part(name, batch, counts, positions, loose)

    def _argument_of(self, name: str, batch: Batch, mask: Tensor) -> Key | None:
        """Return the argument that a mask without a name is for; None if it has no argument's positions."""
        if mask.ndim != 2 or batch.cut.axis is None:
            return None
        names = argument_names(self.model, batch)
        fits = [
            k for k, _ in batch.items() if positions_of(batch, k) == mask.shape[1] and lies_along(batch, k)
        ]
        towers = list(dict.fromkeys(prefix(names[k]) for k in fits))
        if len(towers) > 1 and apart(self._probe_of(), batch, fits, names):
            example = ", ".join(f"masks={{{name!r}: {{{k!r}: mask}}}}" for k in fits[:2])
            raise DataError(
                f"Concept {name!r}: a mask of {mask.shape[1]} positions may be for any of the arguments "
                f"{', '.join(map(repr, fits))}, which have as many. Say which: {example}."
            )
        return fits[0] if fits else None

    def _padding(self, batch: Batch) -> dict[Key, Tensor]:
        """Return which positions are no padding, by the attention mask that says so; none if all are.

        An attention mask is two-dimensional and some other argument of its tower has the same positions: the
        model pays no attention to what it marks with 0.
        """
        names, found = argument_names(self.model, batch), dict[Key, Tensor]()
        for key, value in batch.items():
            if not names[key].endswith("attention_mask") or not isinstance(value, Tensor) or value.ndim != 2:
                continue
            # One that is added to the scores rather than multiplied is no whole number, or negative: 0 means
            # the opposite there. Other whole numbers count texts that were packed into one row.
            numbers = not value.is_floating_point() and bool((value >= 0).all())
            if bool((value != 0).all()) or not (numbers or bool(((value == 0) | (value == 1)).all())):
                continue
            mask = value.t() if batch.cut.axis == 1 else value
            others = [k for k, v in batch.items() if k != key and isinstance(v, Tensor) and v.ndim > 1
                      and v.shape[:2] == value.shape]  # fmt: skip
            if others and (batch.cut.axis is None or mask.shape[0] == batch.size):
                found[key] = mask.bool()
        return found

    def _only(self, name: str, batch: Batch, masks: Mapping[Any, Tensor]) -> Tensor:
        """Return the one mask of a set that is never divided, which has nothing to be mistaken for."""
        if len(masks) == 1 and is_one_tower(batch, argument_names(self.model, batch)):
            return next(iter(masks.values()))
        raise DataError(
            f"Concept {name!r}: its inputs cannot be run one by one, so it is not known which layers read "
            f"the positions of {' and '.join(f'argument {k!r}' for k in masks)}. Count every row "
            f"(masks={{{name!r}: None}}), or say along which dimension the inputs lie (batch_axis=0 or 1)."
        )

    # -- owners -----------------------------------------------------------------------------------

    def owner(self, part: Part, number: int) -> Owner:
        """Return the owner of a part: which concept its inputs belong to, and what counts of them.

        Args:
            part: the batch with what counts of it.
            number: of its concept.
        """
        inputs = torch.full((part.batch.size,), number)
        if part.counts is not None:
            inputs = torch.where(part.counts, inputs, -1)
        if part.batch.cut.axis is None:
            return Owner(inputs, loose=part.loose, single=True)
        names = argument_names(self.model, part.batch)
        keys = tuple(part.positions)
        form = (keys, *((label, t.ndim, tuple(t.shape[2:])) for label, t in part.batch.tensors()))
        if form not in self._known:
            self._known[form] = find_row_axes(self._probe_of(), part.batch, keys, names)
        return Owner(inputs, part.positions, part.loose, self._known[form], is_one_tower(part.batch, names))

    def _probe_of(self) -> Prober:
        if self._probe is None:
            self._probe = Prober(self.model)
        return self._probe


def lying(model: nn.Module, concepts: ConceptSet) -> ConceptSet:
    """Return concepts that say themselves along which dimension their inputs lie, found out on a model.

    Args:
        model: reads the inputs.
        concepts: the concepts.
    """
    if concepts.batch_axis != "auto" or concepts.prepared(model) is not None:
        return concepts
    name, first = next((n, c.record) for n, c in concepts.items())
    if not is_set(first):
        return concepts
    batch = next(Reader(model).sets(first, name))[0]
    return ConceptSet(concepts.values(), background=concepts.background, batch_axis=batch.cut.axis)
