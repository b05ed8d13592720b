"""The sample models: small trained models that ship with their data and need no network."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from ..concepts.concepts import Concept, ConceptSet
from ..concepts.tasks import Classification, Subject
from ..errors import DependencyError, EngramError, StorageError, suggest
from ..progress import Progress
from ..vision.architectures import build

__all__ = [
    "Sample",
    "describe_sample",
    "load_sample",
    "missing_samples",
    "read_idx",
    "sample_folder",
    "sample_names",
    "scaled",
    "stratified_split",
]

_REPAIR = "Restore the folder from the repository, or rebuild it with its train.py."


@dataclass(frozen=True)
class Sample(Subject):
    """A trained sample model with its concepts, its scores and its story.

    Attributes:
        name: the name :func:`load_sample` knows it by; also the name of its folder.
        title: a few words for a heading.
        summary: one sentence.
        card: Markdown text: data, licence, training, accuracy, what to look at, limits.
        metrics: what was measured when the model was trained (``metrics.json``).
        config: what the model was built from (``config.json``).
        image_shape: (height, width) of one input in pixels; None if inputs are no images.
        value_range: lowest and highest value a pixel can take; None if inputs are no images.
        folder: where its files lie.
    """

    name: str
    title: str
    summary: str
    card: str
    metrics: dict[str, Any]
    config: dict[str, Any]
    image_shape: tuple[int, int] | None
    value_range: tuple[float, float] | None
    folder: Path


@dataclass(frozen=True)
class _Images:
    """Images of shape (inputs, 1, height, width) in the model's value range, with class indices."""

    record: Tensor
    record_labels: Tensor
    probe: Tensor
    probe_labels: Tensor


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
    from ..language.smollm2 import PackagedModel

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
    loader = _choose(config, "kind", _LOADERS, path)
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
    from ..language.texts import read_texts

    return list(read_texts(folder / config["data"]["texts"]))


def read_story(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a :class:`Sample` that its folder holds in words and numbers."""
    return {
        "name": folder.name,
        "title": config["title"],
        "summary": config["summary"],
        "card": read_text(folder / "card.md"),
        "metrics": read_json(folder / "metrics.json"),
        "config": config,
        "folder": folder,
    }


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
            f"{path} does not describe a sample this version can load ({detail}). {_REPAIR}"
        ) from error


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of bytes, the format of the MNIST family.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each
    dimension as a big-endian 32-bit number, then the values in row-major order.

    Returns:
        Read-only uint8 array.

    Raises:
        StorageError: if the file is missing, cut short, or holds anything else.
    """
    data = _read_bytes(path)
    try:
        data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"{path} is not a whole gzip file ({error}). {_REPAIR}") from error
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise StorageError(
            f"{path} is no IDX file of unsigned bytes: it starts with {data[:4].hex()!r}. {_REPAIR}"
        )
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", count=data[3], offset=4))
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != np.prod(shape):
        raise StorageError(f"{path} should hold {shape} values but holds {values.size}. {_REPAIR}")
    return values.reshape(shape)


def stratified_split(labels: np.ndarray, *, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split indices in two so that every class gives the same fraction to the second part.

    Args:
        labels: class of each input, shape (inputs,).
        fraction: share of each class, between 0 and 1, that goes to the second part (rounded).
        seed: seed of the choice.

    Returns:
        Sorted indices of the first and of the second part.
    """
    # RandomState, because numpy promises its numbers for good; those of Generator may change.
    random = np.random.RandomState(seed)
    second = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        second.append(members[: round(fraction * len(members))])
    held_out = np.sort(np.concatenate(second))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


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


def _load_image_classifier(folder: Path, config: dict[str, Any], _progress: Progress | None = None) -> Sample:
    classes = tuple(config["classes"])
    height, width = config["image"]["shape"]
    low, high = config["image"]["value_range"]
    images = _choose(config["data"], "kind", _DATA, folder / "config.json")(folder, config)
    found = tuple(images.record.shape[2:])
    if found != (height, width):
        raise StorageError(
            f"The data of {folder} has images of {found} pixels, not {(height, width)}. {_REPAIR}"
        )
    concepts = []
    for index, label in enumerate(classes):
        record = images.record[images.record_labels == index]
        probe = images.probe[images.probe_labels == index]
        if not len(record) or not len(probe):
            raise StorageError(f"The data of {folder} has no images of class {label!r}. {_REPAIR}")
        concepts.append(Concept(label, record, probe))
    return Sample(
        model=_load_model(folder, config),
        concepts=ConceptSet(concepts),
        task=Classification(classes),
        image_shape=(height, width),
        value_range=(float(low), float(high)),
        **read_story(folder, config),
    )


def _load_model(folder: Path, config: dict[str, Any]) -> nn.Module:
    path = folder / "model.safetensors"
    try:
        state = load_tensors(checked_bytes(folder, path.name, config))
    except SafetensorError as error:
        raise StorageError(f"{path} is not a whole safetensors file ({error}). {_REPAIR}") from error
    # On the meta device no weights are drawn: faster, and the caller's random state stays as it was.
    with torch.device("meta"):
        model = build(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise StorageError(
            f"{path} does not fit the architecture in config.json: {error}. {_REPAIR}"
        ) from error
    return model.eval()


def _digits_images(folder: Path, config: dict[str, Any]) -> _Images:
    """Take the digits that scikit-learn bundles, split by the rule in the config."""
    # Imported here: it is slow to import, and only this sample needs it.
    from sklearn.datasets import load_digits

    data = config["data"]
    bunch = load_digits()
    record, probe = stratified_split(bunch.target, fraction=data["held_out"], seed=data["split_seed"])
    images = bunch.images.astype(np.uint8)
    # Another edition of the data would put training images among the held-out ones, unnoticed.
    digest = hashlib.sha256(images[probe].tobytes()).hexdigest()
    if data.get("held_out_sha256", digest) != digest:
        raise StorageError(
            f"scikit-learn's digits are not those that the model in {folder} was trained on. "
            "Install another version of scikit-learn, or train again with its train.py."
        )
    labels = torch.from_numpy(bunch.target)
    inputs = scaled(images, data["highest"])
    return _Images(inputs[record], labels[record], inputs[probe], labels[probe])


def _idx_images(folder: Path, config: dict[str, Any]) -> _Images:
    """Read the shipped images of a sample: four IDX files named in the config."""
    data = config["data"]
    parts = {}
    for part in ("record", "record_labels", "probe", "probe_labels"):
        checked_bytes(folder, data[part], config)
        parts[part] = read_idx(folder / data[part])
    for part in ("record", "probe"):
        if len(parts[part]) != len(parts[f"{part}_labels"]):
            raise StorageError(
                f"{folder / data[part]} holds {len(parts[part])} images but "
                f"{data[part + '_labels']} {len(parts[part + '_labels'])} labels. {_REPAIR}"
            )
    return _Images(
        scaled(parts["record"], data["highest"]),
        torch.from_numpy(parts["record_labels"].astype(np.int64)),
        scaled(parts["probe"], data["highest"]),
        torch.from_numpy(parts["probe_labels"].astype(np.int64)),
    )


def scaled(images: np.ndarray, highest: float) -> Tensor:
    """Turn bytes (inputs, height, width) into values in [0, 1] (inputs, 1, height, width)."""
    return torch.from_numpy(images.astype(np.float32)).div_(highest).unsqueeze(1)


def _choose(config: Mapping[str, Any], key: str, known: Mapping[str, Callable], path: Path) -> Callable:
    if config.get(key) not in known:
        raise StorageError(
            f"{path} says {key} = {config.get(key)!r}, which this version cannot load; "
            f"it knows {', '.join(map(repr, known))}. Update the package, or correct the file."
        )
    return known[config[key]]


def checked_bytes(folder: Path, file: str, config: dict[str, Any]) -> bytes:
    """Read a file and compare it with the hash in the config: no format here checks all its bytes."""
    data = _read_bytes(folder / file)
    if hashlib.sha256(data).hexdigest() != config["sha256"].get(file):
        raise StorageError(
            f"{folder / file} is damaged or not the file that config.json belongs to "
            f"({len(data)} bytes, wrong SHA-256). {_REPAIR}"
        )
    return data


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}. {_REPAIR}") from error


def read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{path} is not UTF-8 text ({error}). {_REPAIR}") from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise StorageError(f"{path} is not valid JSON ({error}). {_REPAIR}") from error
    if not isinstance(value, dict):
        raise StorageError(f"{path} should hold a JSON object; found {type(value).__name__}. {_REPAIR}")
    return value


def _load_causal_lm(folder: Path, config: dict[str, Any], progress: Progress | None = None) -> Sample:
    # Imported here: transformers is slow to import and not everybody's dependency.
    from ..language.samples import load_language_sample

    return load_language_sample(folder, config, progress)


_LOADERS: dict[str, Callable[[Path, dict[str, Any], Progress | None], Sample]] = {
    "image-classifier": _load_image_classifier,
    "causal-lm": _load_causal_lm,
}
_DATA: dict[str, Callable[[Path, dict[str, Any]], _Images]] = {
    "sklearn-digits": _digits_images,
    "idx": _idx_images,
}
