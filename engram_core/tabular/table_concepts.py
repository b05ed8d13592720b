"""The classes of a table as concepts: what a model reads of each row, recorded or held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..concepts.concepts import Concept, ConceptSet
from ..concepts.features import Features
from ..errors import DataError, suggest
from ..vision.samples import stratified_split
from .table_files import Table

__all__ = ["classes_of", "table_concepts"]


def table_concepts(
    features: Features,
    values: np.ndarray,
    numbers: np.ndarray,
    classes: Sequence[str],
    *,
    held_out: float,
    seed: int,
) -> ConceptSet:
    """Return the classes of a table as concepts.

    Args:
        features: how values become what the model reads.
        values: shape (rows, features), in the table's units.
        numbers: the class of each row, as a number of an output.
        classes: name of every output.
        held_out: share of each class that is measured on and not recorded.
        seed: of that choice.

    Raises:
        DataError: if a class has too few rows to be divided.
    """
    record, probe = stratified_split(numbers, fraction=held_out, seed=seed)
    inputs = torch.from_numpy(features.read(values))
    found = []
    for number in np.unique(numbers):
        parts = [torch.from_numpy(part[numbers[part] == number]) for part in (record, probe)]
        if not all(map(len, parts)):
            raise DataError(
                f"Class {classes[number]!r} has {sum(map(len, parts))} rows, too few to record some and to "
                "measure on others. Give more of it, or leave it out."
            )
        found.append(Concept(classes[number], *(inputs[part] for part in parts)))
    return ConceptSet(found)


def classes_of(table: Table, classes: Sequence[str]) -> np.ndarray:
    """Return the number of the output that each row's label names: by its name, or its number.

    Args:
        table: the table.
        classes: name of every output.

    Raises:
        DataError: naming every label that is no output, once.
    """
    known = {str(number): number for number in range(len(classes))}
    known |= {name.strip().casefold(): number for number, name in enumerate(classes)}
    strange = [each for each in dict.fromkeys(table.labels) if each.casefold() not in known]
    if strange:
        lines = "\n".join(str(suggest("class", each, classes)) for each in strange[:20])
        more = f"\n… and {len(strange) - 20} more" if len(strange) > 20 else ""
        raise DataError(f"{len(strange)} labels are no output of this model:\n{lines}{more}")
    return np.array([known[each.casefold()] for each in table.labels])
