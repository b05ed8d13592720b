"""Load a fine-tuned language model with the base it started from: folders, hub names, samples, adapters."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..concepts.tasks import Subject
from ..errors import DataError, StorageError
from ..fine_tuning.fine_tune import FineTune
from ..language.concepts import LanguageConcepts
from ..language.hub import load_language_model
from ..language.recall_task import Recall
from ..language.text_files import read_texts
from ..libraries import first_line, foreign_errors, need
from .load import load_subject
from .samples import load_sample, sample_names

__all__ = ["load_fine_tune"]

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def load_fine_tune(
    fine_tuned: str | os.PathLike[str],
    concepts: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    known: str | os.PathLike[str] | None = None,
    **options: Any,
) -> FineTune:
    """Load a fine-tune with what it learned and what its base knew before.

    Args:
        fine_tuned: a model folder or hub name, or the folder of a PEFT adapter.
        concepts: a file of texts about what it learned (see `language.read_texts`).
        base: what it started from: a sample, a folder, or a hub name. An adapter says it itself.
        known: a file of texts about what the base knew; a sample knows its own concepts.
        options: of `language.hub.load_language_subject`: positions, template, columns.

    Returns:
        The fine-tune, both models in evaluation mode.

    Raises:
        DataError: if nothing says what it started from, or the texts are bad.
        StorageError: for a model or an adapter that cannot be read.
        DependencyError: if transformers, or for an adapter PEFT, is not installed.
    """
    adapter = _adapter_of(fine_tuned)
    start = base if base is not None or adapter is None else adapter[1].get("base_model_name_or_path")
    if not start:
        raise DataError(
            f"Nothing says what {os.fspath(fine_tuned)} was fine-tuned from. Give its base: a sample, a "
            "folder, or a hub name."
        )
    before, knew = _base(start)
    if adapter is None:
        subject: Subject = load_subject(fine_tuned, concepts, **options)
    else:
        plain = load_subject(start, concepts, **options)
        subject = replace(plain, model=_merged(plain.model, adapter[0]))
    if known is not None:
        tokenizer, texts = subject.task.tokenizer, read_texts(Path(known))  # type: ignore[attr-defined]
        knew = Subject(before, LanguageConcepts(tokenizer, texts), Recall(tokenizer, texts))
    return FineTune(subject, before, knew)


def _base(name: str | os.PathLike[str]) -> tuple[nn.Module, Subject | None]:
    """Return a base, and what it knew if it is a sample."""
    if isinstance(name, str) and name in sample_names():
        sample = load_sample(name)
        return sample.model, sample
    return load_language_model(name)[0], None


def _adapter_of(path: str | os.PathLike[str]) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the folder of an adapter with its configuration; None for anything else."""
    folder = Path(path).expanduser()
    if not (folder / _CONFIG).is_file():
        return None
    try:
        config = json.loads((folder / _CONFIG).read_bytes())
    except ValueError as error:
        raise StorageError(f"{folder / _CONFIG} is no JSON ({first_line(error)}).") from None
    if not isinstance(config, dict) or not (folder / _WEIGHTS).is_file():
        raise StorageError(
            f"{folder} is no adapter that can be read: it needs {_CONFIG} and {_WEIGHTS}. Pickled weights "
            "are refused, since reading them runs code."
        )
    return folder, config


def _merged(model: nn.Module, folder: Path) -> nn.Module:
    """Return a model with an adapter written into its weights."""
    peft = need("peft", f"{folder} is an adapter and")
    try:
        adapted = peft.PeftModel.from_pretrained(model, folder, local_files_only=True)
        merged: nn.Module = adapted.merge_and_unload(safe_merge=True).eval()
    except BaseException as error:  # an adapter's files are of many kinds, and so are its errors
        if not foreign_errors(error):
            raise
        raise StorageError(
            f"The adapter in {folder} does not go onto this base ({first_line(error, 160)}). Give the base "
            "that it was trained on."
        ) from None
    return merged
