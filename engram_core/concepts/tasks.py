"""Tasks: how a model's outputs are read and scored, concept by concept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from .concepts import ConceptSet

__all__ = ["Scores", "Subject", "Task"]


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


@dataclass(frozen=True)
class Subject:
    """A model, its concepts, and how its outputs are scored: what the criteria are measured on."""

    model: nn.Module
    concepts: ConceptSet
    task: Task

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", Task.of(self.task))
        self.task.check_names(self.concepts)
