"""Concepts: named groups of inputs, with a recorded and a held-out part.

A concept's inputs are one batched tensor, one batch, or an iterable of batches; a *batch* is a
tensor, a tuple of positional arguments, or a mapping of keyword arguments for the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import DataError, suggest

__all__ = ["Batch", "Concept", "ConceptSet", "Inputs", "batches", "count_inputs"]

Inputs = Tensor | tuple | Mapping | Iterable
"""Whatever :func:`batches` can turn into batches."""


@dataclass(frozen=True)
class Batch:
    """One call of the model.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments.
        size: number of inputs, read from the first dimension of the first tensor.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    size: int

    def to(self, device: torch.device) -> Batch:
        """Return the batch with every tensor on `device`."""

        def move(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        return Batch(
            tuple(move(v) for v in self.args), {k: move(v) for k, v in self.kwargs.items()}, self.size
        )

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor argument with its name or position."""
        for position, value in enumerate(self.args):
            if isinstance(value, Tensor):
                yield f"argument {position}", value
        for key, value in self.kwargs.items():
            if isinstance(value, Tensor):
                yield f"argument {key!r}", value


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
    """

    def __init__(self, concepts: Iterable[Concept], *, background: Inputs | None = None) -> None:
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
        """Turn a mapping ``name → inputs`` (or name → Concept) into a ConceptSet."""
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

        Raises:
            UnknownNameError: for a name that is not in the set.
        """
        return ConceptSet(self[name] for name in names)

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
        return ConceptSet(Concept(c.name, c.probe) for c in self.values() if c.probe is not None)

    def subsets(self, size: int, seeds: Sequence[int]) -> ConceptSet:
        """Draw random subsets of the recorded inputs, without replacement, from all concepts together.

        Args:
            size: inputs per subset.
            seeds: one subset each, 0 or more; the subset's name is ``"subset <seed>"``.

        Raises:
            DataError: if the inputs cannot be indexed, or are fewer than `size`, or a seed is negative.
        """
        parts = [_indexable(concept.record) for concept in self.values()]
        counts = [_countable(name, part) for name, part in zip(self, parts, strict=True)]
        drawn = []
        for seed, chosen in draw(sum(counts), size, seeds):
            picks, start = [], 0
            for part, count in zip(parts, counts, strict=True):
                mine = chosen[(chosen >= start) & (chosen < start + count)] - start
                start += count
                if len(mine):
                    picks.append(_take(part, torch.from_numpy(mine)))
            joined = all(isinstance(p, Tensor) and p.shape[1:] == picks[0].shape[1:] for p in picks)
            drawn.append(Concept(f"subset {seed}", torch.cat(picks) if joined else picks))
        return ConceptSet(drawn)

    def sizes(self) -> dict[str, int]:
        """Return the number of recorded inputs per concept.

        Raises:
            DataError: if a concept's inputs cannot be indexed (an iterable of batches).
        """
        return {name: _countable(name, _indexable(concept.record)) for name, concept in self.items()}

    def singles(self, picks: Sequence[tuple[str, int]]) -> ConceptSet:
        """Return the set in which every picked input is a concept of its own, called "0", "1", ….

        Args:
            picks: concept and number among its recorded inputs, from 0.
        """
        parts = {name: _indexable(self[name].record) for name, _ in picks}
        return ConceptSet(
            Concept(str(i), _take(parts[name], torch.tensor([number])))
            for i, (name, number) in enumerate(picks)
        )

    def prepared(self, model: Any) -> Any:
        """Return batches with owners, names, counts and total, or None to be batched concept by concept.

        A set that knows better how its inputs share forward passes (see `language.concepts`) says so here.
        """
        return None


def draw(total: int, size: int, seeds: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield, for every seed, `size` sorted numbers below `total`, drawn without replacement."""
    if size > total:
        raise DataError(f"A random subset of {size} inputs was asked for; only {total} are recorded.")
    for seed in seeds:
        if seed < 0:
            raise DataError(f"The seed of a random subset must be 0 or more; found {seed}.")
        yield seed, np.sort(np.random.default_rng([seed, size]).choice(total, size, replace=False))


def _indexable(inputs: Inputs) -> Inputs:
    return torch.from_numpy(inputs) if isinstance(inputs, np.ndarray) else inputs


def _countable(name: str, inputs: Inputs) -> int:
    count = count_inputs(inputs) if isinstance(inputs, (Tensor, tuple, Mapping)) else None
    if count is None:
        raise DataError(
            f"Concept {name!r}: a random subset needs inputs that can be indexed (a tensor, or one tuple or "
            f"mapping of tensors); found {type(inputs).__name__}."
        )
    return count


def _take(inputs: Inputs, index: Tensor) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[index]
    size = count_inputs(inputs)

    def pick(value: Any) -> Any:
        along = isinstance(value, Tensor) and value.ndim and value.shape[0] == size
        return value[index] if along else value

    if isinstance(inputs, Mapping):
        return {key: pick(value) for key, value in inputs.items()}
    assert isinstance(inputs, tuple)
    return tuple(pick(value) for value in inputs)


def _as_batch(value: Any, label: str) -> Batch:
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        args = (value,)
    elif isinstance(value, tuple):
        args = value
    elif isinstance(value, Mapping):
        kwargs = dict(value)
    else:
        raise DataError(
            f"Concept {label!r}: a batch must be a tensor, a tuple of arguments or a mapping of "
            f"keyword arguments; found {type(value).__name__}."
        )
    for candidate in (*args, *kwargs.values()):
        if isinstance(candidate, Tensor) and candidate.ndim:
            return Batch(args, kwargs, int(candidate.shape[0]))
    raise DataError(f"Concept {label!r}: a batch holds no tensor with a batch dimension.")


def _split(batch: Batch, size: int) -> Iterator[Batch]:
    """Cut a batch along its first dimension; tensors of another length go to every part."""
    if batch.size <= size:
        yield batch
        return

    def part(value: Any, start: int) -> Any:
        cuts = isinstance(value, Tensor) and value.ndim and value.shape[0] == batch.size
        return value[start : start + size] if cuts else value

    for start in range(0, batch.size, size):
        yield Batch(
            tuple(part(v, start) for v in batch.args),
            {k: part(v, start) for k, v in batch.kwargs.items()},
            min(size, batch.size - start),
        )


def batches(inputs: Inputs, *, batch_size: int = 256, label: str = "inputs") -> Iterator[Batch]:
    """Yield the batches of `inputs`.

    A tensor, tuple or mapping is one set of inputs and is cut into batches of `batch_size` along
    dimension 0. Any other iterable is taken as batches already made, and is consumed once.

    Args:
        inputs: see the module's first lines.
        batch_size: largest number of inputs in one call of the model.
        label: name for error messages.

    Raises:
        DataError: if there is nothing in `inputs`, or a batch is of no known form.
    """
    if batch_size < 1:
        raise DataError(f"batch_size must be at least 1; found {batch_size}.")
    found = 0
    if isinstance(inputs, (Tensor, np.ndarray, tuple, Mapping)):
        for batch in _split(_as_batch(inputs, label), batch_size):
            found += batch.size
            yield batch
    elif isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes)):
        for item in inputs:
            batch = _as_batch(item, label)
            found += batch.size
            yield batch
    else:
        raise DataError(
            f"Concept {label!r}: inputs must be a tensor, a batch or an iterable of batches; "
            f"found {type(inputs).__name__}."
        )
    if not found:
        raise DataError(f"Concept {label!r} is empty: it needs at least one input.")


def count_inputs(inputs: Inputs, *, label: str = "inputs") -> int | None:
    """Return the number of inputs if it can be known without consuming them, else None."""
    if isinstance(inputs, (Tensor, np.ndarray, tuple, Mapping)):
        return _as_batch(inputs, label).size
    if isinstance(inputs, list):
        return sum(_as_batch(item, label).size for item in inputs)
    return None


def map_batches(inputs: Inputs, function: Callable[[Batch], Tensor], *, batch_size: int = 256) -> Tensor:
    """Run `function` on every batch and join its results along dimension 0."""
    return torch.cat([function(batch) for batch in batches(inputs, batch_size=batch_size)])
