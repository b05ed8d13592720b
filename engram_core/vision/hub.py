"""Any image classifier, from a folder or the hub, with your own pictures: from there on it is a sample."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..concepts.classification import Classification
from ..concepts.concepts import Concept, ConceptSet
from ..concepts.sample import Sample
from ..errors import StorageError
from ..hub.downloads import ModelFolder, find_folder, inspect_folder, load_pretrained, model_story, need
from ..hub.dtype import torch_type
from ..hub.json_file import read_json
from ..libraries import first_line
from .class_names import check_class_names, match_classes
from .image_folder import ImageForm, load_image_folder
from .state_dict import MOST_SIDE, form_of_config, load_state_dict

__all__ = ["ImageModel", "is_image_model", "load_image_model", "load_image_subject", "load_image_weights"]


@dataclasses.dataclass(frozen=True)
class ImageModel:
    """An image classifier and how to feed it.

    Attributes:
        model: in evaluation mode.
        classes: name of every output, in order; unique.
        prepare: turns a Pillow picture of `mode` into an input (channels, height, width).
        mode: ``"RGB"`` or ``"L"``.
        config: what the model was built from.
        folder: where its files lie.
    """

    model: nn.Module
    classes: tuple[str, ...]
    prepare: Callable[[Any], Tensor]
    mode: str
    config: dict[str, Any]
    folder: Path


def load_image_model(
    path_or_name: str | os.PathLike[str],
    *,
    architecture: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] | None = None,
    form: ImageForm | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
) -> ImageModel:
    """Load an image classifier: a Hugging Face folder or hub name, or a plain ``state_dict``.

    A ``state_dict`` is a safetensors file, or a folder with model.safetensors, of one of `architectures`: its
    config.json (or `architecture`) holds ``"architecture"`` and ``"options"``, and if known ``"classes"``.

    Args:
        path_or_name: folder, file or hub name.
        architecture: ``{"architecture": …, "options": {…}}`` for a file without config.json.
        classes: names of the outputs, where the files do not say.
        form: how a picture becomes an input; default: what the folder says.
        dtype: as in `load_language_model`.
        device: where the model goes.

    Returns:
        The model, and how its images are fed to it.

    Raises:
        StorageError: in one line: what is missing, damaged, unknown or refused.
        DataError, UnknownNameError: an architecture or its options that do not exist.
    """
    path = Path(os.fspath(path_or_name)).expanduser()
    if path.is_file() and path.suffix == ".safetensors":
        if architecture is None:
            raise StorageError(
                f"{path} holds weights alone. Say which architecture they belong to (architecture=…), or "
                "give a folder with a config.json that does."
            )
        return _plain((path,), dict(architecture), classes, form, dtype, device)
    folder = find_folder(path_or_name)
    if architecture is not None:
        return _plain((folder / "model.safetensors",), dict(architecture), classes, form, dtype, device)
    checked = inspect_folder(folder)
    if "architecture" in checked.config and not checked.model_type:
        return _plain(checked.weights, checked.config, classes, form, dtype, device)
    return _pretrained(checked, classes, form, dtype, device)


def _plain(
    files: tuple[Path, ...],
    config: dict[str, Any],
    classes: tuple[str, ...] | None,
    form: ImageForm | None,
    dtype: torch.dtype | str | None,
    device: torch.device | str,
) -> ImageModel:
    model, file = load_state_dict(files, config, dtype), files[0]
    outputs = next(p.shape[0] for p in reversed(list(model.parameters())))
    told = config.get("classes") or range(outputs)
    if not isinstance(told, list | tuple | range):
        raise StorageError(f"{file.parent / 'config.json'}: classes should be a list of names.")
    names = classes or tuple(map(str, told))
    check_class_names(names, outputs, file)
    form = form or form_of_config(config, file)
    return ImageModel(model.to(device).eval(), names, form, form.mode, config, file.parent)


def is_image_model(folder: ModelFolder) -> bool:
    """Return whether the config of a checked folder is of an image classifier.

    Args:
        folder: from `inspect_folder`.

    Raises:
        DependencyError: if only transformers could tell, and it is not installed.
    """
    if "architecture" in folder.config and not folder.model_type:
        return True
    transformers = need("transformers", "A model folder")
    auto = transformers.models.auto.modeling_auto
    return (
        folder.model_type in auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
        and folder.model_type not in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )


def load_image_weights(
    folder: ModelFolder,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Load the image classifier of a checked folder, whatever is known of how it is fed.

    Args:
        folder: from `inspect_folder`.
        dtype: as in `load_language_model`.
        device: where the model goes.

    Returns:
        The model, in evaluation mode.

    Raises:
        StorageError: an unknown kind of model, or weights that do not fit.
        DependencyError: if transformers is needed and not installed.
    """
    if "architecture" in folder.config and not folder.model_type:
        return load_state_dict(folder.weights, folder.config, dtype).to(device).eval()
    transformers = need("transformers", "An image classifier")
    known = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    place = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        return load_pretrained(
            folder, transformers.AutoModelForImageClassification, known, "image classifier",
            dtype=torch_type(dtype, place), device=place,
        )  # fmt: skip


def _pretrained(
    folder: ModelFolder,
    classes: tuple[str, ...] | None,
    form: ImageForm | None,
    dtype: torch.dtype | str | None,
    device: torch.device | str,
) -> ImageModel:
    transformers = need("transformers", "An image classifier")
    model: Any = load_image_weights(folder, dtype=dtype, device=device)
    outputs = int(model.config.num_labels)
    labels = [str(model.config.id2label.get(i, i)) for i in range(outputs)]
    # Two outputs of one name (ImageNet has two "missile") could not be told apart.
    names = classes or tuple(
        label if labels.count(label) == 1 else f"{label} ({i})" for i, label in enumerate(labels)
    )
    check_class_names(names, outputs, folder.path)
    channels = int(getattr(model.config, "num_channels", 3) or 3)
    if channels not in (1, 3):
        raise StorageError(f"{folder.path} reads pictures of {channels} channels; 1 and 3 are known here.")
    if form is not None:
        return ImageModel(model, names, form, form.mode, folder.config, folder.path)
    if not (folder.path / "preprocessor_config.json").is_file():
        raise StorageError(
            f"{folder.path} has no preprocessor_config.json, so how a picture becomes an input is not known. "
            "Copy the file there, or give form=ImageForm(height, width, channels, mean, std)."
        )
    file = folder.path / "preprocessor_config.json"
    _check_sizes(file, read_json(file))
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever its entries can cause; none of it is ours
        raise StorageError(f"{file} cannot be used ({first_line(error, 160)}).") from None

    def prepare(picture: Any) -> Tensor:
        try:
            return processor(images=[picture], return_tensors="pt")["pixel_values"][0].to(torch.float32)
        except Exception as error:
            raise StorageError(f"{file} makes no input of a picture ({first_line(error, 160)}).") from None

    return ImageModel(model, names, prepare, "L" if channels == 1 else "RGB", folder.config, folder.path)


def _check_sizes(file: Path, value: Any, where: str = "", depth: int = 0) -> None:
    """Refuse a preprocessor that makes pictures of a size no model reads."""
    if depth > 4:
        raise StorageError(f"{file}: {where[:80]} is nested deeper than 4 levels.")
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_sizes(file, inner, f"{where}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for inner in value[:1000]:
            _check_sizes(file, inner, where, depth + 1)
    elif isinstance(value, int | float) and not -MOST_SIDE <= value <= MOST_SIDE:
        if "pixels" not in where:
            raise StorageError(f"{file}: {where[:80]} is {str(value)[:40]}; at most {MOST_SIDE:,} are known.")


def load_image_subject(
    path_or_name: str | os.PathLike[str],
    concepts: str | os.PathLike[str],
    *,
    architecture: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] | None = None,
    form: ImageForm | None = None,
    held_out: float = 0.25,
    seed: int = 0,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
) -> Sample:
    """Load an image classifier with a folder (or zip) of class folders, ready for record and criteria.

    A class folder is named like an output of the model; capitals do not count, one of several names separated
    by commas is enough, and so is the output's number.

    Args:
        path_or_name: see `load_image_model`.
        concepts: see `load_image_folder`.
        architecture: see `load_image_model`.
        classes: see `load_image_model`.
        form: see `load_image_model`.
        held_out: see `load_image_folder`.
        seed: see `load_image_folder`.
        dtype: see `load_image_model`.
        device: see `load_image_model`.

    Returns:
        The model with its concepts and its task.

    Raises:
        DataError: naming every bad file and every folder that is no class of the model.
        StorageError: see `load_image_model`.
    """
    found = load_image_model(
        path_or_name, architecture=architecture, classes=classes, form=form, dtype=dtype, device=device
    )
    pictures = load_image_folder(concepts, found.prepare, mode=found.mode, held_out=held_out, seed=seed)
    names = match_classes(list(pictures), found.classes)
    kind = next(found.model.parameters()).dtype
    ready = ConceptSet(
        Concept(names[c.name], *(part.to(device, kind) for part in (c.record, c.probe)))  # type: ignore[union-attr]
        for c in pictures.values()
    )
    first = next(iter(ready.values())).record
    assert isinstance(first, Tensor)
    form = found.prepare if isinstance(found.prepare, ImageForm) else None
    plain = form is not None and set(form.mean) == {0.0} and set(form.std) == {1.0}
    return Sample(
        model=found.model,
        concepts=ready,
        task=Classification(found.classes),
        image_shape=(first.shape[-2], first.shape[-1]),
        value_range=(0.0, 1.0) if plain else (float(first.min()), float(first.max())),
        config={"kind": "image-classifier", "model": found.config},
        **model_story(path_or_name, found.folder, found.model, concepts=len(ready), digits=2),
    )
