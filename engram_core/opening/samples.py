"""The sample models: small trained models that ship with their data and need no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..concepts.sample import Sample
from ..concepts.sample_files import REPAIR, choose, read_json, read_story
from ..errors import DependencyError, EngramError, StorageError, suggest
from ..language.samples import load_language_sample
from ..language.smollm2 import PackagedModel
from ..language.text_files import read_texts
from ..progress import Progress
from ..tabular.samples import load_table_sample
from ..vision.samples import load_image_sample

__all__ = ["describe_sample", "load_sample", "missing_samples", "sample_folder", "sample_names"]

_LOADERS: dict[str, Callable[[Path, dict[str, Any], Progress | None], Sample]] = {
    "image-classifier": load_image_sample,
    "causal-lm": load_language_sample,
    "table-classifier": load_table_sample,
}


def sample_names(root: Path | None = None) -> list[str]:
    """Return the names of the sample models that can be loaded here, in alphabetical order.

    One whose weights come as a package of their own is among them once that package is installed; until
    then :func:`missing_samples` names it.

    Args:
        root: folder that holds one folder per sample (default: the one shipped with this library).

    Raises:
        StorageError: if there is no such folder.
    """
    return sorted(folder.name for folder in _folders(root) if _missing(folder) is None)


def missing_samples(root: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return the samples that need one more package, by name.

    Args:
        root: folder that holds one folder per sample (default: the one shipped with this library).

    Returns:
        The sample's config.json: ``["title"]`` and ``["summary"]`` say what it is,
        ``["weights"]["command"]`` is the one command that installs it.

    Raises:
        StorageError: if there is no such folder.
    """
    found = {folder.name: _missing(folder) for folder in _folders(root)}
    return {name: config for name, config in sorted(found.items()) if config is not None}


def sample_folder(name: str, *, root: Path | None = None) -> Path:
    """Return the folder of a sample model; nothing is loaded.

    Args:
        name: of the sample.
        root: folder that holds one folder per sample (default: the one shipped with this library).

    Raises:
        UnknownNameError: if there is no sample of that name.
    """
    for folder in _folders(root):
        if folder.name == name:
            return folder
    raise suggest("sample", name, [folder.name for folder in _folders(root)])


def _folders(root: Path | None) -> list[Path]:
    root = _root() if root is None else Path(root)
    try:
        folders = [entry for entry in root.iterdir() if entry.is_dir()]
    except OSError as error:
        raise StorageError(f"Cannot read the folder of sample models {root}: {error.strerror}.") from error
    # config.json is written last by train.py, so a folder without one is not a sample yet.
    return [folder for folder in folders if (folder / "config.json").is_file()]


def _missing(folder: Path) -> dict[str, Any] | None:
    """Return the config of a sample whose weights are not installed, None for all others."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None  # loading it says what is wrong
    if not isinstance(config, dict) or "weights" not in config:
        return None
    try:
        return None if PackagedModel.of(folder.name, config).find() else config
    except (KeyError, TypeError):
        return None


def load_sample(name: str, *, root: Path | None = None, progress: Progress | None = None) -> Sample:
    """Load a sample model with its recorded and held-out inputs.

    Every call returns a model of its own, in evaluation mode. Torch's random state is left alone.

    Args:
        name: one of :func:`sample_names`.
        root: folder that holds one folder per sample (default: the one shipped with this library).
        progress: called with (done, total or None, text) by a sample that takes long to read the first time.

    Returns:
        The sample. Each concept is one class: ``record`` holds training images and ``probe`` images
        that the model has never seen, both of shape (inputs, 1, height, width), float32.

    Raises:
        UnknownNameError: if there is no sample of that name.
        StorageError: if one of its files is missing, damaged or of another version.
    """
    root = _root() if root is None else Path(root)
    names = sample_names(root)
    folder = root / name
    if name not in names and (Path(name).name != name or not folder.is_dir()):
        raise suggest("sample", name, names)
    config = read_json(folder / "config.json")
    path = folder / "config.json"
    loader = choose(config, "kind", _LOADERS, path)
    with _described(path):
        return loader(folder, config, progress)


def describe_sample(name: str, *, root: Path | None = None) -> dict[str, Any]:
    """Return what the files of a sample model say of it; no weights are read.

    Args:
        name: one of :func:`sample_names`.
        root: folder that holds one folder per sample (default: the one shipped with this library).

    Returns:
        Those attributes of its :class:`Sample` that need no model (name, title, summary, card, metrics,
        config, folder), and the names of its concepts as ``concepts``.

    Raises:
        UnknownNameError: if there is no sample of that name.
        StorageError: if one of these files is missing, damaged or of another version.
    """
    folder = sample_folder(name, root=root)
    config = read_json(folder / "config.json")
    with _described(folder / "config.json"):
        return read_story(folder, config) | {"concepts": _concept_names(folder, config)}


def _concept_names(folder: Path, config: dict[str, Any]) -> list[str]:
    if "classes" in config:
        return list(config["classes"])
    return list(read_texts(folder / config["data"]["texts"]))


@contextmanager
def _described(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a config.json that was read into a sentence about that file."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # Our own errors are sentences already, and all but this one class name their file.
        if isinstance(error, (DependencyError, StorageError)):
            raise
        detail = str(error) if isinstance(error, EngramError) else f"{type(error).__name__}: {error}"
        raise StorageError(
            f"{path} does not describe a sample this version can load ({detail}). {REPAIR}"
        ) from error


def _root() -> Path:
    """Return the shipped folder: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "sample_models", package.parent / "sample_models")
    for place in places:
        if place.is_dir():
            return place
    raise StorageError(
        f"The sample models are missing: neither {places[0]} nor {places[1]} exists. Reinstall the package."
    )
