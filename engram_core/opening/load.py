"""Load any model with any concepts, of whichever kind: the same as a sample from there on."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..concepts.sample import Sample
from ..errors import DataError, UnknownNameError, with_article
from ..hub.downloads import find_folder, inspect_folder
from ..language.concepts import LanguageConcepts
from ..language.dataset_names import dataset_file, is_dataset
from ..language.hub import load_language_subject, load_weights
from ..language.recall_task import Recall
from ..language.text_files import read_texts
from ..language.tokens import check_template
from ..libraries import first_line
from ..tabular.hub import load_table_subject, with_table
from ..tabular.table_files import read_table
from ..vision.hub import is_image_model, load_image_subject, load_image_weights
from ..vision.image_folder import ImageForm, load_image_folder
from .fitting import check_reads_pictures, check_reads_texts, reads_tables, what_is
from .samples import load_sample, missing_samples, sample_names

__all__ = ["load_model", "load_subject", "with_positions"]

_TEXTS = (".jsonl", ".ndjson", ".json", ".csv")


def load_subject(
    path_or_name: str | os.PathLike[str], concepts_path: str | os.PathLike[str], **options: Any
) -> Sample:
    """Load a model with concepts; what the concepts are says what kind of model it is.

    Args:
        path_or_name: a model folder, a hub name, for images a safetensors file, or the name of a sample
            (which then has these concepts instead of its own; give a folder of that name as a `Path`).
        concepts_path: a JSONL, JSON or CSV file of texts (see `language.read_texts`), or a folder or zip of
            class folders with pictures (see `image_folder.load_image_folder`); for a model on features a
            table in such a file (see `table_files.read_table`). ``datasets:org/name:config@split`` fetches
            one.
        options: of `language.hub.load_language_subject`, `vision.hub.load_image_subject` or
            `tabular.hub.load_table_subject`; a language sample takes ``positions``, ``template`` and
            ``columns``, one of images ``held_out``, ``seed``, one of a table these and ``label``.

    Returns:
        A sample: ``.model``, ``.concepts``, ``.task``.

    Raises:
        DataError: concepts of no known form, texts for a sample that takes none, or every problem in them at
            once.
        StorageError: the model; see `language.hub.load_language_model`.
        UnknownNameError: an option that this kind of model does not take.
    """
    if is_dataset(os.fspath(concepts_path)):
        concepts_path = dataset_file(os.fspath(concepts_path))
    try:
        path = Path(concepts_path).expanduser()
        folder, _ = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a zero byte
        said = ascii(os.fspath(concepts_path))[:80]
        raise DataError(f"The concepts {said} are at no path ({first_line(error)}).") from None
    texts = path.suffix.casefold() in _TEXTS and not folder
    table = texts and reads_tables(path_or_name)
    if isinstance(path_or_name, str) and path_or_name in (*sample_names(), *missing_samples()):
        sample = load_sample(path_or_name)
        if texts and not (table or sample.task.reads_text):
            raise DataError(
                f"{path.name} holds texts, and {sample.name} is no language model: it reads "
                "pictures, in a folder or .zip with one folder per class."
            )
        if not texts and (sample.task.reads_text or sample.features is not None):
            what = "is a language model: it reads texts" if sample.task.reads_text else "reads a table"
            raise DataError(f"{what_is(path)}, and {sample.name} {what} (.jsonl, .json or .csv).")
        return _sample_with(sample, path, options)
    if table:
        _check_options(options, _options_of(load_table_subject), "model on features")
        return load_table_subject(path_or_name, path, **options)
    if texts:
        check_reads_texts(path_or_name, path)
        _check_options(options, _options_of(load_language_subject), "language model")
        return load_language_subject(path_or_name, path, **options)
    if folder or path.suffix.casefold() == ".zip":
        check_reads_pictures(path_or_name, path)
        _check_options(options, _options_of(load_image_subject), "image model")
        return load_image_subject(path_or_name, path, **options)
    raise DataError(
        f"{path} is neither a text file of concepts (.jsonl, .json, .csv) nor a folder or .zip of class "
        "folders with pictures."
    )


def load_model(path_or_name: str | os.PathLike[str]) -> nn.Module:
    """Load a model of whichever kind by itself: its layers can be listed without any concept.

    Args:
        path_or_name: a model folder or a hub name.

    Returns:
        The model, in evaluation mode.

    Raises:
        StorageError: as in `load_subject`; for a model that is neither a language model nor an image
            classifier too.
        DependencyError: if transformers is needed and not installed.
    """
    folder = inspect_folder(find_folder(path_or_name))
    return load_image_weights(folder) if is_image_model(folder) else load_weights(folder)


def with_positions(sample: Sample, *, positions: Any = "all", template: bool = False) -> Sample:
    """Return a language sample whose own texts are recorded at other positions, or asked as in a chat.

    Args:
        sample: of a language model.
        positions: see `language.LanguageConcepts`.
        template: put prompts into the chat template.

    Raises:
        DataError: if this is no language model, or its tokenizer has no chat template.
    """
    if not sample.task.reads_text:
        raise DataError(
            f"{sample.name} is no language model: positions and template are for texts. Leave them out."
        )
    texts = sample.task.texts  # type: ignore[attr-defined]
    return _with_texts(sample, texts, {"positions": positions, "template": template})


def _with_texts(sample: Sample, texts: Any, options: dict[str, Any]) -> Sample:
    tokenizer, template = sample.task.tokenizer, bool(options.get("template", False))  # type: ignore[attr-defined]
    if template:
        check_template(tokenizer, sample.name)
    concepts = LanguageConcepts(tokenizer, texts, **options)
    return replace(sample, concepts=concepts, task=Recall(tokenizer, texts, template=template))


def _options_of(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def _check_options(options: dict[str, Any], known: Iterable[str], what: str) -> None:
    unknown = [name for name in options if name not in known]
    if unknown:
        raise UnknownNameError(
            f"{with_article(what).capitalize()} takes no option {', '.join(map(repr, unknown))}. It takes "
            f"{', '.join(known)}."
        )


def _sample_with(sample: Sample, path: Path, options: dict[str, Any]) -> Sample:
    """Return a sample with other concepts."""
    if sample.task.reads_text:
        _check_options(options, ("positions", "template", "columns"), "language sample")
        columns = options.pop("columns", None)
        return _with_texts(sample, read_texts(path, columns=columns), options)
    if sample.features is not None:
        _check_options(options, ("label", "held_out", "seed"), "sample of a table")
        table = read_table(path, label=options.pop("label", None), features=sample.features.names)
        return replace(sample, **with_table(sample, table, **options))
    _check_options(options, ("held_out", "seed"), "sample of images")
    assert sample.image_shape is not None  # a sample that reads no text reads images
    low, high = sample.value_range or (0.0, 1.0)
    # (byte / 255 − mean) / std must run from low to high.
    std = 1 / (high - low)
    form = ImageForm(*sample.image_shape, channels=1, mean=(-low * std,), std=(std,))
    return replace(sample, concepts=load_image_folder(path, form, mode=form.mode, **options))
