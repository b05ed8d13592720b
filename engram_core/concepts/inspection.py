"""Count what concepts hold before anything is recorded, and draw a few of their inputs to try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ..errors import EngramError
from .batches import Reader
from .concepts import BACKGROUND, Concept, ConceptSet

__all__ = ["Inspection", "few_inputs", "inspect_concepts"]

_CONCEPTS = 4  # of which inputs are drawn


@dataclass(frozen=True)
class Inspection:
    """What concepts hold, the background included (under `concepts.BACKGROUND`).

    Attributes:
        inputs: number of inputs to record, by concept.
        held_out: number of inputs to measure on, by concept.
        rows: number of rows that a layer reads at every position, by concept: tokens, or inputs.
        problems: what must be put right before they can be recorded, in sentences.
    """

    inputs: dict[str, int]
    held_out: dict[str, int]
    rows: dict[str, int]
    problems: tuple[str, ...]


def inspect_concepts(model: nn.Module, concepts: ConceptSet) -> Inspection:
    """Count the inputs of concepts; no error is raised for what is wrong with them.

    Args:
        model: the model that will read them.
        concepts: any set.

    Returns:
        The counts, and all problems at once.
    """
    return concepts.inspected(model) or _counted(model, concepts)


def _counted(model: nn.Module, concepts: ConceptSet) -> Inspection:
    groups: dict[str, Concept] = dict(concepts)
    if concepts.background is not None:
        groups[BACKGROUND] = Concept(BACKGROUND, concepts.background)
    reader = Reader(model, axis=concepts.batch_axis)
    inputs: dict[str, int] = {}
    held_out: dict[str, int] = {}
    problems: list[str] = []
    for name, concept in groups.items():
        sizes = []
        for part in (concept.record, concept.probe):
            try:
                size = 0 if part is None else reader.count(part, name)
            except EngramError as error:
                problems.append(str(error))
                size = 0
            sizes.append(0 if size is None else size)
        if isinstance(concept.record, Iterator):
            problems.append(
                f"Concept {name!r}: its inputs can be read only once, so none was tried or counted: "
                "recording would miss them. Give a list of them."
            )
        elif not sizes[0]:
            problems.append(f"Concept {name!r}: its inputs are none, or cannot be counted beforehand.")
        inputs[name], held_out[name] = sizes
    return Inspection(inputs, held_out, dict(inputs), tuple(problems))


def few_inputs(model: nn.Module, concepts: ConceptSet, count: int) -> tuple[ConceptSet, int]:
    """Draw a few inputs of a few concepts, so that a model can be tried with them.

    Args:
        model: the model that will read them.
        concepts: any set.
        count: how many inputs, at most.

    Returns:
        The set of them, and how many rows they are.

    Raises:
        DataError: if inputs are of no form that can be read.
    """
    return concepts.few(model, count) or _drawn(model, concepts, count)


def _drawn(model: nn.Module, concepts: ConceptSet, count: int) -> tuple[ConceptSet, int]:
    # What can be read only once is left to the recording.
    names = [name for name in concepts if not isinstance(concepts[name].record, Iterator)]
    chosen = names[:: max(1, len(names) // _CONCEPTS)][:_CONCEPTS]
    drawn, rows = {}, 0
    for name in chosen:
        reader = Reader(model, batch_size=max(1, count // len(chosen)), axis=concepts.batch_axis)
        batch = next(reader.batches(concepts[name].record, name))
        drawn[name] = [batch.args] if batch.args else [batch.kwargs]
        rows += batch.size
    return ConceptSet((Concept(n, x) for n, x in drawn.items()), batch_axis=concepts.batch_axis), rows
