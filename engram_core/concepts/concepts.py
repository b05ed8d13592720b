"""Concepts: named groups of inputs, with a recorded and a held-out part.

A concept's inputs are one batched tensor, one batch, or an iterable of batches; a *batch* is a
tensor, a tuple of positional arguments, or a mapping of keyword arguments for the model (see `inputs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, suggest
from .batch import Batch, Cut
from .inputs import Inputs, as_batch, is_set, sets_of

if TYPE_CHECKING:
    from .inspection import Inspection

__all__ = ["BACKGROUND", "Batch", "Concept", "ConceptSet", "Inputs"]

BACKGROUND = "(background)"
"""Name of the rows that belong to the total and to no concept."""


@dataclass(frozen=True)
class Concept:
    """A named group of inputs: a class, an author, a fact.

    Attributes:
        name: unique name inside its set.
        record: the inputs whose traces are recorded.
        probe: held-out inputs of the same concept, on which effects are measured; None if there
            are none.
    """

    name: str
    record: Inputs
    probe: Inputs | None = None


class ConceptSet(Mapping[str, Concept]):
    """Concepts by name, in a fixed order, and the background that belongs to the total.

    Args:
        concepts: the concepts; names must be unique.
        background: inputs that enter the total Σ but are no concept (None: none).
        batch_axis: the dimension along which a set's inputs lie: 0; 1 for sequence-first data; None if every
            set is one input that is never divided (a graph, a picture without a batch dimension); or
            ``"auto"``: found out on the model that runs them (see `batch_axis.cut_of`).
    """

    texts: Any = None
    """The texts that it was made of (see `language.TextSet`); None if its inputs are no texts."""

    def __init__(
        self,
        concepts: Iterable[Concept],
        *,
        background: Inputs | None = None,
        batch_axis: int | str | None = "auto",
    ) -> None:
        self.batch_axis = batch_axis
        self._concepts: dict[str, Concept] = {}
        for concept in concepts:
            if not isinstance(concept.name, str) or not concept.name:
                raise DataError(f"A concept needs a non-empty text as its name; found {concept.name!r}.")
            if concept.name in self._concepts:
                raise DataError(f"Two concepts are called {concept.name!r}; give each its own name.")
            self._concepts[concept.name] = concept
        if not self._concepts:
            raise DataError("A concept set needs at least one concept; found none.")
        self.background = background

    @classmethod
    def of(cls, value: ConceptSet | Mapping[str, Inputs | Concept]) -> ConceptSet:
        """Turn a mapping ``name → inputs`` (or name → Concept) into a ConceptSet.

        Args:
            value: a set as it is, or a mapping name → inputs or Concept.

        Returns:
            The set.

        Raises:
            DataError: if it is neither.
        """
        if isinstance(value, ConceptSet):
            return value
        if not isinstance(value, Mapping):
            raise DataError(
                "Concepts are given as a ConceptSet or as a mapping from names to inputs; "
                f"found {type(value).__name__}."
            )
        return cls(item if isinstance(item, Concept) else Concept(name, item) for name, item in value.items())

    def __getitem__(self, name: str) -> Concept:
        try:
            return self._concepts[name]
        except KeyError:
            raise suggest("concept", name, self._concepts) from None

    def __contains__(self, name: object) -> bool:
        return name in self._concepts

    def __iter__(self) -> Iterator[str]:
        return iter(self._concepts)

    def __len__(self) -> int:
        return len(self._concepts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._concepts)})"

    def subset(self, names: Iterable[str]) -> ConceptSet:
        """Return some of the concepts, in the order given and without the background.

        For measuring fewer probes. Record the whole set: the background and the others belong to the total.

        Args:
            names: of the concepts, in the order wanted.

        Raises:
            UnknownNameError: for a name that is not in the set.
        """
        return ConceptSet((self[name] for name in names), batch_axis=self.batch_axis)

    def held_out(self) -> ConceptSet:
        """Return the set whose recorded inputs are this one's held-out inputs.

        Raises:
            DataError: if a concept has none.
        """
        for concept in self.values():
            if concept.probe is None:
                raise DataError(
                    f"Concept {concept.name!r} has no held-out inputs: give Concept(…, probe=…) so that "
                    "effects are not measured on what was recorded."
                )
        held = (Concept(c.name, c.probe) for c in self.values() if c.probe is not None)
        return ConceptSet(held, batch_axis=self.batch_axis)

    def subsets(self, size: int, seeds: Sequence[int]) -> ConceptSet:
        """Draw random subsets of the recorded inputs, without replacement, from all concepts together.

        Args:
            size: inputs per subset.
            seeds: one subset each, 0 or more; the subset's name is ``"subset <seed>"``.

        Returns:
            One concept per seed.

        Raises:
            DataError: if the inputs cannot be indexed, or are fewer than `size`, or a seed is negative.
        """
        parts = [_indexed(c.name, c.record, self.batch_axis) for c in self.values()]
        counts = [part.size for part in parts]
        axis = 0 if self.batch_axis == "auto" else int(self.batch_axis or 0)
        drawn = []
        for seed, chosen in draw(sum(counts), size, seeds):
            picks, start = [], 0
            for part, count in zip(parts, counts, strict=True):
                mine = chosen[(chosen >= start) & (chosen < start + count)] - start
                start += count
                if len(mine):
                    picks.append(_take(part, torch.from_numpy(mine)))
            joined = all(isinstance(p, Tensor) and _beside(p, axis) == _beside(picks[0], axis) for p in picks)
            drawn.append(Concept(f"subset {seed}", torch.cat(picks, axis) if joined else picks))
        return ConceptSet(drawn, batch_axis=self.batch_axis)

    def sizes(self) -> dict[str, int]:
        """Return the number of recorded inputs per concept.

        Raises:
            DataError: if a concept's inputs cannot be indexed (an iterable of batches).
        """
        return {name: _indexed(name, concept.record, self.batch_axis).size for name, concept in self.items()}

    def singles(self, picks: Sequence[tuple[str, int]]) -> ConceptSet:
        """Return the set in which every picked input is a concept of its own, called "0", "1", ….

        Args:
            picks: concept and number among its recorded inputs, from 0.

        Raises:
            DataError: if a number is not among the inputs, or these cannot be indexed.
        """
        parts = {name: _indexed(name, self[name].record, self.batch_axis) for name, _ in picks}
        for name, number in picks:
            if not 0 <= number < parts[name].size:
                raise DataError(f"Concept {name!r} has inputs 0 to {parts[name].size - 1}; found {number}.")
        found = (
            Concept(str(i), _take(parts[name], torch.tensor([number])))
            for i, (name, number) in enumerate(picks)
        )
        return ConceptSet(found, batch_axis=self.batch_axis)

    def prepared(self, model: Any) -> Any:
        """Return batches with owners, names, counts and total, or None to be batched concept by concept.

        A set that knows better how its inputs share forward passes (see `language.concepts`) says so here.

        Args:
            model: the model that will read them.
        """
        return None

    def inspected(self, model: Any) -> Inspection | None:
        """Return what can be said of its inputs before they run, or None to have them counted batch by batch.

        Args:
            model: the model that will read them.
        """
        return None

    def few(self, model: Any, count: int) -> tuple[ConceptSet, int] | None:
        """Return a set of a few of its inputs with their number of rows, or None to have them drawn by batch.

        Args:
            model: the model that will read them.
            count: how many inputs, at most.
        """
        return None

    def warnings(self, model: Any) -> list[str]:
        """Return what a model cannot do with this kind of inputs although it can record them, in sentences.

        Args:
            model: the model that will read them.
        """
        return []

    def about(self) -> dict[str, Any]:
        """Return what a file of engrams carries of these concepts, as JSON can hold it."""
        return {}


def _beside(tensor: Tensor, axis: int) -> tuple[int, ...]:
    return (*tensor.shape[:axis], *tensor.shape[axis + 1 :])


def draw(total: int, size: int, seeds: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield, for every seed, `size` sorted numbers below `total`, drawn without replacement.

    Args:
        total: how many numbers there are.
        size: numbers per seed.
        seeds: 0 or more.

    Yields:
        The seed, and its numbers.

    Raises:
        DataError: if `size` is no number from 1 to `total`, or a seed is negative.
    """
    if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
        raise DataError(f"A random subset has a whole number of inputs, at least 1; found {size!r}.")
    if size > total:
        raise DataError(f"A random subset of {size} inputs was asked for; only {total} are recorded.")
    for seed in seeds:
        if seed < 0:
            raise DataError(f"The seed of a random subset must be 0 or more; found {seed}.")
        yield seed, np.sort(np.random.default_rng([seed, size]).choice(total, size, replace=False))


def _indexed(name: str, inputs: Inputs, axis: int | str | None) -> Batch:
    """Return a concept's inputs as one set that can be drawn from."""
    if is_set(inputs) and axis is not None:
        batch = as_batch(inputs, name)
        if batch.cut.axis is not None:
            return batch.divided(Cut(0 if axis == "auto" else int(axis)))
    if isinstance(inputs, list) and inputs and axis is not None:
        sets = [batch for batch, _ in sets_of(inputs, name, len(inputs))]
        if len(sets) == 1 and sets[0].cut.along is not None:
            return sets[0]  # a list of vectors is a set of inputs that was not stacked
    found = "one set that is never divided" if axis is None else type(inputs).__name__
    raise DataError(
        f"Concept {name!r}: a random subset needs inputs that can be indexed (a tensor, or one tuple or "
        f"mapping of tensors); found {found}."
    )


def _take(batch: Batch, index: Tensor) -> Any:
    taken = batch.take(index)
    if taken.kwargs:
        return dict(taken.kwargs)
    return taken.args[0] if len(taken.args) == 1 and isinstance(taken.args[0], Tensor) else taken.args
