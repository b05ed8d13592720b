"""Tasks: how a model's outputs are read and scored, concept by concept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import DataError, UnknownNameError, suggest
from ..models.view import device_of, evaluated
from .batches import Reader
from .concepts import ConceptSet
from .inputs import Batch, Inputs

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


class Task(Protocol):
    """Anything that can score a model on concepts."""

    @property
    def unit(self) -> str:
        """What a score is, in a word."""
        ...

    def measure(self, model: nn.Module, concepts: ConceptSet, probes: Iterable[str] | None = None) -> Scores:
        """Score `model` on the held-out inputs of the named concepts (default: all)."""
        ...


def logits_of(output: Any) -> Tensor:
    """Return the class scores of a model's output, whether bare or in an object with ``.logits``."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DataError(f"Expected class scores of shape (inputs, classes); the model returned {found}.")
    return logits


@dataclass(frozen=True)
class Classification:
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
        """Return the output index of a concept."""
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
        """
        reader = Reader(model, batch_size=self.batch_size, axis=batch_axis)
        with evaluated(model) as ready, torch.no_grad():
            place = device_of(model)

            def run(batch: Batch) -> Tensor:
                there = batch.to(place).own()
                return logits_of(ready(*there.args, **there.kwargs))

            return torch.cat([run(batch) for batch in reader.batches(inputs, "inputs")])

    def probabilities(self, model: nn.Module, inputs: Inputs) -> Tensor:
        """Return the class probabilities, shape (inputs, classes)."""
        return self.logits(model, inputs).softmax(-1)

    def measure(self, model: nn.Module, concepts: ConceptSet, probes: Iterable[str] | None = None) -> Scores:
        """Return accuracy and answers on the held-out inputs of each probed concept."""
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
        classes = getattr(self.task, "classes", None)
        if classes is not None:
            unknown: UnknownNameError | None = next(
                (suggest("class", name, classes) for name in self.concepts if name not in classes), None
            )
            if unknown is not None:
                raise unknown
