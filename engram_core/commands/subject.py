"""The model that a command is about, with its concepts: how it is named, found and solved."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..atlas import Atlas
from ..concepts.tasks import Subject
from ..errors import DataError, suggest
from ..language import Recall
from ..language.published import parse_columns
from ..opening.load import load_model, load_subject, with_positions
from ..opening.prepared import prepare
from ..opening.samples import load_sample, missing_samples, sample_names
from ..tuning.sweep import draw_concepts
from .names import known_name, names_in
from .options import Columns, ConceptsFile, ModelName, Named, PositionsName, Random, Seed, Template
from .progress_bar import bar_of_progress

__all__ = [
    "DrawOptions",
    "SubjectOptions",
    "check_known",
    "extracted",
    "is_own",
    "open_model",
    "open_subject",
    "recall_of",
    "settle_threads",
]


@dataclass(frozen=True)
class SubjectOptions:
    """Which model, and which concepts if not its own."""

    model: ModelName
    concepts_file: ConceptsFile = None
    positions: PositionsName = None
    template: Template = False
    columns: Columns = None

    def open(self) -> Subject:
        """Find the model; see `open_subject`."""
        return open_subject(
            self.model,
            self.concepts_file,
            positions=self.positions,
            template=self.template,
            columns=self.columns,
        )


@dataclass(frozen=True)
class DrawOptions:
    """Which of the concepts: named, drawn, or all."""

    concepts: Named = None
    random: Random = None
    seed: Seed = 0

    def names(self, subject: Subject, *, sets: int = 1) -> list[str] | None:
        """Return the concepts named in a list, or drawn at random, or None for all.

        Args:
            subject: whose concepts.
            sets: draw this many times as many.

        Raises:
            DataError: for both, or more than there are.
            UnknownNameError: naming the nearest.
        """
        if self.concepts is not None and self.random is not None:
            raise DataError("Give --concepts or --random, not both.")
        if self.random is not None:
            return draw_concepts(subject.concepts, self.random * sets, seed=self.seed)
        return names_in(self.concepts, list(subject.concepts)) if self.concepts else None


def open_subject(
    name: str,
    concepts_file: ConceptsFile = None,
    *,
    positions: str | None = None,
    template: bool = False,
    columns: str | None = None,
) -> Subject:
    """Find a model by its name, with its concepts and task.

    Args:
        name: a sample model; else a local folder or a hub name.
        concepts_file: texts (JSONL or CSV), or a folder or zip of pictures. A sample has these concepts then
            instead of its own; any model that is no sample needs concepts.
        positions: language models: which tokens are recorded (see `language.LanguageConcepts`).
        template: language models: put prompts into the chat template.
        columns: the names that a file of texts uses, by ours, as typed: ``concept=subject,text=body``.

    Returns:
        The model with its concepts and its task.

    Raises:
        UnknownNameError: for a name that is no sample and looks like no path or hub name.
        DataError: for a model of one's own without concepts, or texts, positions or a template given to a
            model that takes none.
        StorageError, DependencyError: see `load_subject`.
    """
    settle_threads()
    options: dict[str, Any] = {} if positions is None else {"positions": positions}
    if template:
        options["template"] = True
    if columns is not None:
        if concepts_file is None:
            raise DataError("--columns is about a file of texts: give it with --texts FILE.")
        options["columns"] = parse_columns(columns)
    if concepts_file is not None:
        return load_subject(name, concepts_file, **options)
    if is_own(name):
        raise DataError(
            f"{name} is no sample model, so its concepts are not known: give --concepts-file FILE (texts in "
            "JSONL or CSV, or a folder of pictures, one folder per class)."
        )
    with bar_of_progress() as bar:
        sample = load_sample(name, progress=bar)  # raises for an unknown one, and names the nearest
    return with_positions(sample, **options) if options else sample


def is_own(name: str) -> bool:
    """Return whether a name is of a folder or of the hub, not of a sample."""
    if name in (*sample_names(), *missing_samples()):
        return False
    looks_like_one = re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith(("/", "./", "../", "~"))
    return bool(looks_like_one) or os.path.isdir(name)


def open_model(name: str) -> nn.Module:
    """Find a model by its name, without concepts.

    Returns:
        The model, in evaluation mode.

    Raises:
        UnknownNameError, StorageError, DependencyError: see `open_subject`.
    """
    return load_model(name) if is_own(name) else open_subject(name).model


def settle_threads() -> None:
    """Choose how many threads compute, unless the user has (``OMP_NUM_THREADS``).

    On two cores one is enough: beside any other work two wait for each other's turn, and take many times as
    long as one. More than eight are no faster for matrices of these sizes.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(1 if cores <= 2 else min(torch.get_num_threads(), 8))


def extracted(subject: Subject, bar: Any, *, cut: float | None = None, **options: Any) -> Atlas:
    """Return the engrams of all concepts of a subject, from the cache if it has them."""
    return prepare(subject, cut=cut, progress=bar, **options)


def recall_of(subject: Subject) -> Recall | None:
    """Return how a language model is asked; None for any other model."""
    return subject.task if isinstance(subject.task, Recall) else None


def check_known(names: Iterable[str] | None, known: Collection[str]) -> list[str]:
    """Return the typed names of concepts as a subject's concepts have them.

    Raises:
        UnknownNameError: for one that none has, before anything is recorded.
    """
    found = []
    for typed in names or ():
        name = known_name(typed, known)
        if name is None:
            raise suggest("concept", typed, known)
        found.append(name)
    return found
