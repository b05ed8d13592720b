"""Models on features among the samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..concepts.classification import Classification
from ..concepts.sample import Sample
from ..concepts.sample_files import REPAIR, checked_bytes, choose, read_story
from ..errors import StorageError
from ..progress import Progress
from ..vision.state_dict import load_state_dict
from .hub import features_of_config
from .table_concepts import table_concepts

__all__ = ["load_table_sample"]


def load_table_sample(folder: Path, config: dict[str, Any], _progress: Progress | None = None) -> Sample:
    """Load a sample of kind ``table-classifier``.

    Args:
        folder: of the sample.
        config: its config.json.
        _progress: never told anything: nothing here takes long.

    Returns:
        The sample; an input is a row of features as the model reads them, float32.

    Raises:
        StorageError: if a file is missing, damaged, or of another version.
    """
    values, numbers = choose(config["data"], "kind", _DATA, folder / "config.json")(folder, config)
    checked_bytes(folder, "model.safetensors", config)
    features = features_of_config(config, folder / "config.json")
    if features is None or values.shape[1] != len(features.names):
        raise StorageError(f"{folder / 'config.json'} does not say what each feature is. {REPAIR}")
    data, classes = config["data"], tuple(config["classes"])
    return Sample(
        model=load_state_dict((folder / "model.safetensors",), config, None).eval(),
        concepts=table_concepts(
            features, values, numbers, classes, held_out=data["held_out"], seed=data["split_seed"]
        ),
        task=Classification(classes),
        image_shape=None,
        value_range=None,
        features=features,
        **read_story(folder, config),
    )


def _wine(folder: Path, config: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Take the wines that scikit-learn bundles."""
    # Imported here: it is slow to import, and only this sample needs it.
    from sklearn.datasets import load_wine

    bunch = load_wine()
    values = np.ascontiguousarray(bunch.data, np.float64)
    # Another edition of the data would put training rows among the held-out ones, unnoticed.
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    if config["data"].get("sha256", digest) != digest:
        raise StorageError(
            f"scikit-learn's wines are not those that the model in {folder} was trained on. "
            "Install another version of scikit-learn, or train again with its train.py."
        )
    return values, np.asarray(bunch.target)


_DATA: dict[str, Callable[[Path, dict[str, Any]], tuple[np.ndarray, np.ndarray]]] = {"sklearn-wine": _wine}
