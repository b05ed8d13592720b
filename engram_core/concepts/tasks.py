"""Tasks: how a model's outputs are read and scored, concept by concept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import DataError, suggest
from ..models.view import device_of, evaluated
from .batch import Batch
from .batches import Reader
from .concepts import ConceptSet
from .inputs import Inputs

__all__ = ["Classification", "Scores", "Subject", "Task"]


@dataclass(frozen=True)
class Scores:
    """What a model does on the held-out inputs of some concepts.

    Attributes:
        score: task score per probed concept, in [0, 1] (for a classifier: accuracy).
        says: for each probed concept, the share of its inputs answered with each concept;
            ``says[probe][concept]`` in [0, 1].
        details: what else the task measures, by name and probed concept; a concept it does not apply to
            is left out. Names that contain ``"nll"`` are losses (higher is worse), all others scores.
    """

    score: dict[str, float]
    says: dict[str, dict[str, float]]
    details: dict[str, dict[str, float]] = field(default_factory=dict)


class Task(ABC):
    """How a model's outputs are read and scored, concept by concept.

    What differs between kinds of model is asked here, so that nobody else asks which kind a model is. A task
    of your own derives from this class and needs `unit` and `measure`; the rest may stay as it is.
    """

    reads_text: ClassVar[bool] = False
    """Whether the model is asked in words. Such a task has `tokenizer`, `texts`, `template` and `table`."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """What a score is, in a word."""

    @abstractmethod
    def measure(self, model: nn.Module, concepts: ConceptSet, probes: Iterable[str] | None = None) -> Scores:
        """Score a model.

        Args:
            model: any model of this kind, edited or not.
            concepts: whose held-out inputs are used.
            probes: names of the concepts to score (default: all).

        Returns:
            One score per probed concept.

        Raises:
            DataError: if a concept has nothing to be scored on.
        """

    def check_names(self, names: Iterable[str]) -> None:  # noqa: B027  (most tasks can score any concept)
        """Raise an UnknownNameError for a concept that this task could never score; by default there is none.

        Args:
            names: of the concepts.
        """

    def answers(self, model: nn.Module, inputs: ConceptSet) -> tuple[str, ...]:
        """Return what a model says to every input of a set, in words; "" where it says nothing.

        Args:
            model: any model of this kind.
            inputs: one input per concept (see `ConceptSet.singles`); the recorded inputs are asked.

        Returns:
            One word per concept, in order.
        """
        return ("",) * len(inputs)

    def depends_on(self, concepts: ConceptSet) -> Sequence[Any] | None:
        """Return all that a model's scores depend on beside the model; None if that cannot be known.

        Args:
            concepts: what would be scored.

        Returns:
            Values whose content can be hashed: texts, numbers, tensors, containers of these, concept sets.
        """
        return None

    def rehearse(self, model: nn.Module, report: Callable[[str], None]) -> None:  # noqa: B027  (most bring nothing)
        """Try what a model from elsewhere brings along for this task, before anybody waits for it.

        Args:
            model: the model.
            report: is told what is being tried.

        Raises:
            DataError: if something fails, or takes as long as nobody waits for.
        """

    @staticmethod
    def of(task: Any) -> Task:
        """Return a task as it is; an object that has `unit` and `measure` alone gets the rest of one.

        Args:
            task: any object with `unit` and `measure`.
        """
        return task if isinstance(task, Task) else _MeasureAlone(task)


@dataclass(frozen=True)
class _MeasureAlone(Task):
    """A task made of somebody's object with `unit` and `measure`, whose other attributes stay in reach."""

    task: Any

    @property
    def unit(self) -> str:
        return self.task.unit

    def measure(self, model: nn.Module, concepts: ConceptSet, probes: Iterable[str] | None = None) -> Scores:
        return self.task.measure(model, concepts, probes)

    def __getattr__(self, name: str) -> Any:
        if name == "task":  # not there yet: asked while the object is being copied or unpickled
            raise AttributeError(name)
        return getattr(self.task, name)


def logits_of(output: Any) -> Tensor:
    """Return the class scores of a model's output, whether bare or in an object with ``.logits``.

    Args:
        output: what the model returned.

    Raises:
        DataError: if it holds no tensor of shape (inputs, classes).
    """
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DataError(f"Expected class scores of shape (inputs, classes); the model returned {found}.")
    return logits


@dataclass(frozen=True)
class Classification(Task):
    """One class per concept; the score is the accuracy on held-out inputs.

    Attributes:
        classes: concept name of each output index, in the order of the model's outputs.
        batch_size: inputs per forward pass. Small, because activations that outgrow the processor's cache
            cost more than calls: fashion-cnn's 2,000 pictures take .24 s by 32 and .67 s by 512 on 2 cores.
    """

    classes: tuple[str, ...]
    batch_size: int = 32
    unit: str = field(default="accuracy", init=False)

    def index(self, concept: str) -> int:
        """Return the output index of a concept.

        Args:
            concept: its name.

        Raises:
            UnknownNameError: if no class has it.
        """
        try:
            return self.classes.index(concept)
        except ValueError:
            raise suggest("class", concept, self.classes) from None

    def logits(self, model: nn.Module, inputs: Inputs, *, batch_axis: int | str | None = "auto") -> Tensor:
        """Return the class scores, shape (inputs, classes), in evaluation mode without gradients.

        Args:
            model: any model.
            inputs: see `inputs`.
            batch_axis: see `ConceptSet`.

        Raises:
            DataError: if the model returns anything but (inputs, classes).
        """
        reader = Reader(model, batch_size=self.batch_size, axis=batch_axis)
        with evaluated(model) as ready, torch.no_grad():
            place = device_of(model)

            def run(batch: Batch) -> Tensor:
                there = batch.to(place).unshared()
                return logits_of(ready(*there.args, **there.kwargs))

            return torch.cat([run(batch) for batch in reader.batches(inputs, "inputs")])

    def probabilities(self, model: nn.Module, inputs: Inputs) -> Tensor:
        """Return the class probabilities.

        Args:
            model: any model.
            inputs: see `inputs`.

        Returns:
            Shape (inputs, classes); every row sums to 1.
        """
        return self.logits(model, inputs).softmax(-1)

    def measure(self, model: nn.Module, concepts: ConceptSet, probes: Iterable[str] | None = None) -> Scores:
        """Return accuracy and answers on the held-out inputs of each probed concept.

        Args:
            model: any classifier with these classes.
            concepts: whose held-out inputs are classified.
            probes: names of the concepts to score (default: all).

        Raises:
            DataError: if a concept has no held-out inputs.
            UnknownNameError: if no class has a concept's name.
        """
        names = list(concepts) if probes is None else list(probes)
        parts = []
        for name in names:
            probe = concepts[name].probe
            if probe is None:
                raise DataError(
                    f"Concept {name!r} has no held-out inputs: give Concept(…, probe=…) so that "
                    "effects are not measured on what was recorded."
                )
            self.index(name)
            parts.append(probe)
        score: dict[str, float] = {}
        says: dict[str, dict[str, float]] = {}
        for name, predicted in zip(names, self._predict_all(model, parts, concepts.batch_axis), strict=True):
            share = torch.bincount(predicted, minlength=len(self.classes)).double() / len(predicted)
            says[name] = {c: float(share[i]) for i, c in enumerate(self.classes)}
            score[name] = says[name][name]
        return Scores(score, says)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise an UnknownNameError for a concept that is no class.

        Args:
            names: of the concepts.
        """
        for name in names:
            self.index(name)

    def answers(self, model: nn.Module, inputs: ConceptSet) -> tuple[str, ...]:
        """Return the class that a model gives to every input.

        Args:
            model: any classifier with these classes.
            inputs: one input per concept.
        """
        parts: list[Any] = [concept.record for concept in inputs.values()]
        if all(isinstance(part, Tensor) for part in parts):
            parts = [torch.cat(parts)]
        predicted = torch.cat([self.logits(model, part) for part in parts]).argmax(-1)
        return tuple(self.classes[i] for i in predicted.tolist())

    def depends_on(self, concepts: ConceptSet) -> Sequence[Any]:
        """Return the kind of task, the classes, and every held-out input.

        Args:
            concepts: what would be scored.
        """
        probes = {name: concept.probe for name, concept in concepts.items()}
        return (type(self).__name__, self.classes, probes)

    def _predict_all(self, model: nn.Module, parts: list[Inputs], axis: int | str | None) -> list[Tensor]:
        """Predict several parts in shared batches: a small part alone wastes the processor."""
        if all(isinstance(part, Tensor) for part in parts):
            reader = Reader(model, batch_size=self.batch_size, axis=axis)
            cuts = [next(reader.sets(part, "inputs"))[0].cut for part in parts]
            place = cuts[0].axis if cuts else None
            if place is not None and all(cut.axis == place for cut in cuts):
                sizes = [part.shape[place] for part in parts]  # type: ignore[union-attr]
                whole = torch.cat(parts, place)  # type: ignore[arg-type]
                joined = self.logits(model, whole, batch_axis=place).argmax(-1)
                return list(joined.split(sizes))
        return [self.logits(model, part, batch_axis=axis).argmax(-1) for part in parts]


@dataclass(frozen=True)
class Subject:
    """A model, its concepts, and how its outputs are scored: what the criteria are measured on."""

    model: nn.Module
    concepts: ConceptSet
    task: Task

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", Task.of(self.task))
        self.task.check_names(self.concepts)
