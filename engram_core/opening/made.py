"""A sample made of what is in memory: any module with any inputs, named and held out as the pages need it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..concepts.classification import Classification
from ..concepts.concepts import Concept, ConceptSet
from ..concepts.inputs import is_set
from ..concepts.sample import Sample
from ..concepts.tasks import Subject, Task
from ..errors import DataError, EngramError
from ..language.concepts import LanguageConcepts
from ..language.recall_task import Recall
from ..language.texts import TextSet
from ..models.view import base_of
from ..vision.samples import stratified_split
from .input_forms import features_of, picture_form

__all__ = ["sample_of"]

_HELD_OUT = 0.25


def sample_of(
    model: nn.Module | Subject,
    concepts: Any = None,
    labels: Any = None,
    *,
    names: Sequence[str] | None = None,
    task: Any = None,
    tokenizer: Any = None,
    features: Sequence[str] | None = None,
    held_out: float = _HELD_OUT,
    seed: int = 0,
    name: str = "",
) -> Sample:
    """Return a sample of a model in memory; the model is neither copied nor changed.

    Args:
        model: any module, or a `Subject`, which has its concepts and its task.
        concepts: a mapping name → inputs or `Concept`, a `ConceptSet`, a `TextSet` (with `tokenizer`), or
            data: a tensor, an array or a table with one input in each row (with `labels`).
        labels: of data: the class of each input, as the number of an output or as a name in `names`.
        names: of the model's outputs, in order. Default: the concepts', if the model has as many outputs.
        task: how outputs are scored; default: as classes, texts by exact recall.
        tokenizer: of a language model.
        features: names of the numbers in an input; default: the columns of a table, or their numbers.
        held_out: share of each concept that is measured on and not recorded, where that is not divided yet.
        seed: of that choice.
        name: what the model is called; default: its class.

    Returns:
        The sample.

    Raises:
        DataError: naming what was given, what was expected and what to do.
    """
    if isinstance(model, Subject):
        if concepts is not None or labels is not None:
            raise DataError("A Subject has its concepts already; give it alone, or its model with others.")
        return _of_subject(model, name)
    if not isinstance(model, nn.Module):
        raise DataError(f"The model must be a torch module (nn.Module); found {type(model).__name__}.")
    if concepts is None:
        raise DataError("Give concepts: a mapping from names to inputs, or data with labels.")
    if not 0 < held_out < 1:
        raise DataError(f"held_out is a share between 0 and 1; found {held_out!r}.")
    base = base_of(model)
    if isinstance(concepts, TextSet):
        if tokenizer is None:
            raise DataError("Texts need the model's tokenizer: tokenizer=….")
        concepts = LanguageConcepts(tokenizer, concepts)
    if isinstance(concepts, LanguageConcepts):
        asked = task or Recall(concepts.tokenizer, concepts.texts, template=concepts.template)
        return _told(Subject(base, concepts, asked), name)
    if labels is not None:
        features = _columns(concepts) if features is None else features
        concepts, names = _by_label(base, concepts, labels, names, task, held_out, seed)
    found = ConceptSet(
        (_divided(each, held_out, seed) for each in ConceptSet.of(concepts).values()),
        background=concepts.background if isinstance(concepts, ConceptSet) else None,
        batch_axis=concepts.batch_axis if isinstance(concepts, ConceptSet) else "auto",
    )
    scored = Task.of(task) if task is not None else Classification(_classes(base, found, names))
    sample = _told(Subject(base, found, scored), name)
    return sample if sample.image_shape else replace(sample, features=features_of(found, features))


def _of_subject(subject: Subject, name: str) -> Sample:
    if not isinstance(subject, Sample):
        told = _told(subject, name)
        return told if told.image_shape else replace(told, features=features_of(subject.concepts, None))
    # The bundled sample of that name is another thing: nobody may have changed it.
    return replace(subject, name=name or f"{subject.name} (in memory)")


def _told(subject: Subject, name: str) -> Sample:
    """Return a subject with what can be said of it."""
    kind = type(subject.model).__name__
    parameters = sum(p.numel() for p in subject.model.parameters())
    shape, reach = (None, None) if subject.task.reads_text else picture_form(subject.concepts)
    return Sample(
        model=subject.model,
        concepts=subject.concepts,
        task=subject.task,
        name=name or kind,
        title=name or kind,
        summary=f"{kind}, {parameters:,} parameters, {len(subject.concepts)} concepts; in memory.",
        card=f"# {name or kind}\n\nA module in the memory of the process that opened the explorer.\n",
        metrics={},
        config={},
        image_shape=shape,
        value_range=reach,
        folder=Path(),
    )


# -- data with labels ----------------------------------------------------------------------------------


def _columns(data: Any) -> list[str] | None:
    return [str(each) for each in data.columns] if hasattr(data, "columns") else None


def _by_label(
    model: nn.Module,
    data: Any,
    labels: Any,
    names: Sequence[str] | None,
    task: Any,
    held_out: float,
    seed: int,
) -> tuple[ConceptSet, Sequence[str]]:
    """Divide data by its labels, and each class into recorded and held-out inputs."""
    inputs = _tensor(data.to_numpy() if hasattr(data, "columns") else data, "the data")
    given = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(given) != len(inputs):
        raise DataError(f"There are {len(inputs):,} inputs and {len(given):,} labels; each input needs one.")
    if not given:
        raise DataError("There is no input.")
    if all(isinstance(each, str) for each in given):
        if names is None:
            raise DataError(
                "The labels are names, and which output of the model each belongs to is not known: give "
                f"names=[…] in the order of the outputs. Found: {_few(sorted(set(given)))}."
            )
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise DataError(f"Labels that are not in names: {_few(unknown)}; names are {_few(names)}.")
        numbers = np.array([list(names).index(each) for each in given])
    else:
        numbers = np.asarray(given)
        if numbers.ndim != 1 or not np.equal(numbers, np.round(numbers.astype(float))).all():
            raise DataError("A label is the whole number of an output, or its name.")
        numbers = numbers.astype(int)
        if names is None:
            names = [
                str(i) for i in range(_outputs(model, inputs[:1]) if task is None else numbers.max() + 1)
            ]
        if numbers.min() < 0 or numbers.max() >= len(names):
            raise DataError(
                f"Labels run from {numbers.min()} to {numbers.max()}, and outputs from 0 to {len(names) - 1}."
            )
    record, probe = stratified_split(numbers, fraction=held_out, seed=seed)
    made = []
    for number in np.unique(numbers):
        parts = [torch.from_numpy(part[numbers[part] == number]) for part in (record, probe)]
        if not len(parts[0]) or not len(parts[1]):
            raise DataError(
                f"Class {names[number]!r} has {int((numbers == number).sum())} inputs, too few to record "
                "some and to measure on others; give more of it, or leave it out."
            )
        made.append(Concept(str(names[number]), inputs[parts[0]], inputs[parts[1]]))
    return ConceptSet(made), names


def _tensor(data: Any, what: str) -> Tensor:
    if isinstance(data, Tensor):
        return data
    try:
        array = np.asarray(data)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise DataError(
            f"{what.capitalize()} must be numbers, one input in each row: a tensor, an array or a table; "
            f"found {type(data).__name__}{f' of {array.dtype}' if array.size else ''}."
        )
    # Models read single precision; a table's numbers come in double.
    return torch.from_numpy(np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else None))


def _divided(concept: Concept, held_out: float, seed: int) -> Concept:
    """Return a concept of which some inputs are held out, and whose inputs can be counted."""
    record = _whole(concept.name, concept.record)
    if concept.probe is not None:
        return Concept(concept.name, record, _whole(concept.name, concept.probe))
    alone = ConceptSet([Concept(concept.name, record)])
    count = alone.sizes()[concept.name]
    if count < 2:
        raise DataError(
            f"Concept {concept.name!r} has {count} input{'' if count == 1 else 's'}: at least one is "
            "recorded and one more is measured on. Give more, or Concept(name, record, probe)."
        )
    order = np.random.RandomState(seed).permutation(count)
    cut = min(count - 1, max(1, round(held_out * count)))
    probe, rest = np.sort(order[:cut]), np.sort(order[cut:])
    return Concept(concept.name, _taken(record, rest), _taken(record, probe))


def _taken(inputs: Any, numbers: np.ndarray) -> Any:
    index = torch.from_numpy(numbers)
    if isinstance(inputs, tuple):
        return tuple(_taken(each, numbers) for each in inputs)
    if isinstance(inputs, Mapping):
        return {key: _taken(each, numbers) for key, each in inputs.items()}
    return inputs[index] if isinstance(inputs, Tensor) else inputs


def _whole(name: str, inputs: Any) -> Any:
    """Return inputs as one set: batches of a list or a loader are joined."""
    if isinstance(inputs, np.ndarray):
        return _tensor(inputs, f"concept {name!r}")
    if is_set(inputs):
        return inputs
    if hasattr(inputs, "columns"):
        return _tensor(inputs.to_numpy(), f"concept {name!r}")
    parts = list(inputs) if isinstance(inputs, Iterable) and not isinstance(inputs, str) else []
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if parts and len(tensors) == len(parts) and len({part.shape[1:] for part in tensors}) == 1:
        return torch.stack(tensors) if tensors[0].ndim == 1 else torch.cat(tensors)
    raise DataError(
        f"Concept {name!r}: the pages show single inputs, so they must be one tensor, one tuple or mapping "
        f"of tensors, or a list of tensors of one form; found {type(inputs).__name__}."
    )


def _few(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(map(repr, names[:most])) + (
        f" and {len(names) - most} more" if len(names) > most else ""
    )


# -- what the model says and reads ---------------------------------------------------------------------


def _outputs(model: nn.Module, one: Any) -> int:
    """Return how many classes a model tells apart."""
    try:
        return Classification(()).logits(model, one).shape[1]
    except EngramError as error:
        raise DataError(
            f"{error} If the outputs are no classes, give task=…: an object with unit and measure."
        ) from None


def _classes(model: nn.Module, concepts: ConceptSet, names: Sequence[str] | None) -> tuple[str, ...]:
    first = next(iter(concepts))
    outputs = _outputs(model, concepts.singles([(first, 0)])["0"].record)
    if names is None and outputs == len(concepts):
        return tuple(concepts)
    if names is None:
        raise DataError(
            f"The model has {outputs} outputs and there are {len(concepts)} concepts: give names=[…], the "
            "name of every output in order."
        )
    if len(names) != outputs or len(set(names)) != outputs:
        raise DataError(
            f"The model has {outputs} outputs; names has {len(names)}, {len(set(names))} of them different."
        )
    return tuple(map(str, names))
