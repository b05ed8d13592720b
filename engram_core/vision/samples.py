"""Image classifiers among the samples: weights, the pictures they were trained on, and those held out."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from ..concepts.classification import Classification
from ..concepts.concepts import Concept, ConceptSet
from ..concepts.sample import Sample
from ..concepts.sample_files import REPAIR, checked_bytes, choose, read_bytes, read_story
from ..errors import StorageError
from ..progress import Progress
from .architectures import build

__all__ = ["load_image_sample", "read_idx", "scaled", "stratified_split"]


@dataclass(frozen=True)
class _Images:
    """Images of shape (inputs, 1, height, width) in the model's value range, with class indices."""

    record: Tensor
    record_labels: Tensor
    probe: Tensor
    probe_labels: Tensor


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of bytes, the format of the MNIST family.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each
    dimension as a big-endian 32-bit number, then the values in row-major order.

    Args:
        path: of the file.

    Returns:
        Read-only uint8 array.

    Raises:
        StorageError: if the file is missing, cut short, or holds anything else.
    """
    data = read_bytes(path)
    try:
        data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"{path} is not a whole gzip file ({error}). {REPAIR}") from error
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise StorageError(
            f"{path} is no IDX file of unsigned bytes: it starts with {data[:4].hex()!r}. {REPAIR}"
        )
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", count=data[3], offset=4))
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != np.prod(shape):
        raise StorageError(f"{path} should hold {shape} values but holds {values.size}. {REPAIR}")
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


def load_image_sample(folder: Path, config: dict[str, Any], _progress: Progress | None = None) -> Sample:
    """Load a sample of kind ``image-classifier``: its weights, and its pictures by class.

    Args:
        folder: of the sample.
        config: its config.json.
        _progress: never told anything: nothing here takes long.

    Returns:
        The sample; images are of shape (inputs, 1, height, width), float32, in the model's value range.

    Raises:
        StorageError: if a file is missing, damaged, or of another version.
        UnknownNameError: if the architecture is none of ours.
    """
    classes = tuple(config["classes"])
    height, width = config["image"]["shape"]
    low, high = config["image"]["value_range"]
    images = choose(config["data"], "kind", _DATA, folder / "config.json")(folder, config)
    found = tuple(images.record.shape[2:])
    if found != (height, width):
        raise StorageError(
            f"The data of {folder} has images of {found} pixels, not {(height, width)}. {REPAIR}"
        )
    concepts = []
    for index, label in enumerate(classes):
        record = images.record[images.record_labels == index]
        probe = images.probe[images.probe_labels == index]
        if not len(record) or not len(probe):
            raise StorageError(f"The data of {folder} has no images of class {label!r}. {REPAIR}")
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
        raise StorageError(f"{path} is not a whole safetensors file ({error}). {REPAIR}") from error
    # On the meta device no weights are drawn: faster, and the caller's random state stays as it was.
    with torch.device("meta"):
        model = build(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise StorageError(
            f"{path} does not fit the architecture in config.json: {error}. {REPAIR}"
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
                f"{data[part + '_labels']} {len(parts[part + '_labels'])} labels. {REPAIR}"
            )
    return _Images(
        scaled(parts["record"], data["highest"]),
        torch.from_numpy(parts["record_labels"].astype(np.int64)),
        scaled(parts["probe"], data["highest"]),
        torch.from_numpy(parts["probe_labels"].astype(np.int64)),
    )


def scaled(images: np.ndarray, highest: float) -> Tensor:
    """Turn bytes into values in [0, 1].

    Args:
        images: (inputs, height, width), any integers.
        highest: the value of a white pixel.

    Returns:
        (inputs, 1, height, width), float32.
    """
    return torch.from_numpy(images.astype(np.float32)).div_(highest).unsqueeze(1)


_DATA: dict[str, Callable[[Path, dict[str, Any]], _Images]] = {
    "sklearn-digits": _digits_images,
    "idx": _idx_images,
}
