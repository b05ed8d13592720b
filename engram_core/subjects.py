"""Your own model with your own concepts, of whichever kind: the same as a sample from there on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import DataError
from .image_folder import ImageForm, load_image_folder
from .samples import Sample, load_sample, missing_samples, sample_names

__all__ = ["load_subject"]

_TEXTS = (".jsonl", ".ndjson", ".csv")


def load_subject(
    path_or_name: str | os.PathLike[str], concepts_path: str | os.PathLike[str], **options: Any
) -> Sample:
    """Load a model with concepts; what the concepts are says what kind of model it is.

    Args:
        path_or_name: a model folder, a hub name, for images a safetensors file, or the name of a sample
            (which then has these concepts instead of its own; give a folder of that name as a `Path`).
        concepts_path: a JSONL or CSV file of texts (see `language.read_texts`), or a folder or zip of class
            folders with pictures (see `image_folder.load_image_folder`).
        options: of `language.hub.load_language_subject` or of `vision_hub.load_image_subject`.

    Returns:
        A sample: ``.model``, ``.concepts``, ``.task``.

    Raises:
        DataError: concepts of no known form, texts for a sample that takes none, or every problem in them at
            once.
        StorageError: the model; see `language.hub.load_language_model`.
    """
    path = Path(concepts_path).expanduser()
    texts = path.suffix.casefold() in _TEXTS and not path.is_dir()
    if isinstance(path_or_name, str) and path_or_name in (*sample_names(), *missing_samples()):
        sample = load_sample(path_or_name)
        if texts and sample.image_shape is not None:
            raise DataError(
                f"{sample.name} is no language model, so it takes no text concepts; leave {concepts_path} "
                "out."
            )
        return _sample_with(sample, path)
    if texts:
        from .language.hub import load_language_subject

        return load_language_subject(path_or_name, path, **options)
    if path.is_dir() or path.suffix.casefold() == ".zip":
        from .vision_hub import load_image_subject

        return load_image_subject(path_or_name, path, **options)
    raise DataError(
        f"{path} is neither a text file of concepts (.jsonl, .csv) nor a folder or .zip of class folders "
        "with pictures."
    )


def _sample_with(sample: Sample, path: Path) -> Sample:
    """Return a sample with other concepts."""
    if sample.image_shape is None:
        from .language import LanguageConcepts, Recall, read_texts

        tokenizer, texts = sample.task.tokenizer, read_texts(path)  # type: ignore[attr-defined]
        return replace(sample, concepts=LanguageConcepts(tokenizer, texts), task=Recall(tokenizer, texts))
    low, high = sample.value_range or (0.0, 1.0)
    # (byte / 255 − mean) / std must run from low to high.
    std = 1 / (high - low)
    form = ImageForm(*sample.image_shape, channels=1, mean=(-low * std,), std=(std,))
    return replace(sample, concepts=load_image_folder(path, form, mode=form.mode))
