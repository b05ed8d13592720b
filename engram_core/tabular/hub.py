"""A model on features, from a folder, with a table of one's own: from there on it is a sample."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..concepts.classification import Classification
from ..concepts.features import Features
from ..concepts.sample import Sample
from ..errors import DataError, StorageError
from ..hub.downloads import find_folder, inspect_folder, model_story
from ..vision.state_dict import load_state_dict
from .table_concepts import classes_of, table_concepts
from .table_files import Table, read_table

__all__ = ["features_of_config", "load_table_subject", "with_table"]


def load_table_subject(
    path_or_name: str | os.PathLike[str],
    table: str | os.PathLike[str],
    *,
    label: str | None = None,
    held_out: float = 0.25,
    seed: int = 0,
) -> Sample:
    """Load a model on features with a table: its classes are the concepts.

    The folder has model.safetensors and a config.json that names the architecture (``mlp``) and its options,
    and if they are known ``"classes"`` and ``"features"``: ``{"names": …, "mean": …, "std": …}``.

    Args:
        path_or_name: the folder.
        table: a CSV, JSONL or JSON file; see `read_table`.
        label: the column that says the class; see `read_table`.
        held_out: share of each class that is measured on and not recorded.
        seed: of that choice.

    Returns:
        The model with its concepts and its task.

    Raises:
        DataError: naming every bad column and label at once.
        StorageError: what is missing or damaged in the folder.
    """
    folder = inspect_folder(find_folder(path_or_name))
    model = load_state_dict(folder.weights, folder.config, None)
    width, outputs = _ends(model)
    told = features_of_config(folder.config, folder.path / "config.json")
    found = read_table(Path(table), label=label, features=None if told is None else told.names)
    features = told or Features.plain(found.names)
    if len(features.names) != width:
        raise DataError(
            f"The model reads {width} numbers and the table has {len(features.names)} features: "
            f"{', '.join(features.names[:20])}. Take columns out, or name those that it reads in its "
            'config.json ("features").'
        )
    names = folder.config.get("classes") or [str(number) for number in range(outputs)]
    if not isinstance(names, list) or len(set(map(str, names))) != outputs:
        raise StorageError(
            f"{folder.path / 'config.json'}: the model has {outputs} outputs, and classes should name each."
        )
    classes = tuple(map(str, names))
    concepts = table_concepts(
        features, found.values, classes_of(found, classes), classes, held_out=held_out, seed=seed
    )
    return Sample(
        model=model.eval(),
        concepts=concepts,
        task=Classification(classes),
        image_shape=None,
        value_range=None,
        features=features,
        config={"kind": "table-classifier", "model": folder.config},
        **model_story(path_or_name, folder.path, model, concepts=len(concepts), digits=3),
    )


def with_table(sample: Sample, table: Table, *, held_out: float = 0.25, seed: int = 0) -> dict[str, Any]:
    """Return what another table changes of a sample.

    Args:
        sample: of a model on features.
        table: its features are the sample's.
        held_out: share of each class that is measured on and not recorded.
        seed: of that choice.
    """
    assert sample.features is not None
    classes = sample.task.classes  # type: ignore[attr-defined]
    numbers = classes_of(table, classes)
    concepts = table_concepts(sample.features, table.values, numbers, classes, held_out=held_out, seed=seed)
    return {"concepts": concepts}


def _ends(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers a model reads and how many classes it tells apart."""
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not linear or any(isinstance(layer, nn.Conv2d) for layer in model.modules()):
        raise DataError("A table needs a model on features (architecture mlp); this one reads pictures.")
    return linear[0].in_features, linear[-1].out_features


def features_of_config(config: Mapping[str, Any], file: Path) -> Features | None:
    """Return what a config says of the features, or None.

    Args:
        config: of the model.
        file: where it stands, for messages.

    Raises:
        StorageError: if it says something else.
    """
    told = config.get("features")
    if told is None:
        return None
    try:
        if isinstance(told, list):
            return Features.plain(told)
        mean, std = (tuple(float(value) for value in told[key]) for key in ("mean", "std"))
        return Features(tuple(map(str, told["names"])), mean, std)
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f'{file}: "features" should be a list of names, or {{"names": …, "mean": …, "std": …}} ({error}).'
        ) from None
