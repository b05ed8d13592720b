"""Find the files of weights in a model folder: which they are, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import StorageError
from .json_file import read_json
from .safetensors_header import Stored, read_header

__all__ = [
    "file_names",
    "find_weights",
    "incomplete",
    "missing_files",
    "stored_tensors",
    "why_no_weights",
]

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_UNFINISHED = (".incomplete", ".part", ".crdownload", ".aria2", ".tmp", ".download")
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.safetensors")
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"


def file_names(path: Path) -> list[str]:
    """Return the names in a folder, in order.

    Args:
        path: of the folder.

    Raises:
        StorageError: if it cannot be read.
    """
    try:
        return sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}).") from None


def incomplete(path: Path) -> str:
    """Return a sentence on what a download that ended early has left in a folder; "" if nothing.

    Args:
        path: of the folder.
    """
    places = (path, path / ".cache" / "huggingface" / "download", path.parent.parent / "blobs")
    left = sorted(
        entry.name
        for place in places
        if place.is_dir()
        for entry in place.iterdir()
        if entry.name.endswith(_UNFINISHED)
    )
    dangling = sorted(entry.name for entry in path.iterdir() if entry.is_symlink() and not entry.exists())
    if dangling:
        return f" {dangling[0]} is a link to a file that is not there."
    return f" {left[0][:80]} was left by a download that did not end." if left else ""


def missing_files(path: Path) -> str:
    """Return the names of files without which a folder is a part of a model; "" if none is known to lack.

    Args:
        path: of the folder.
    """
    names = file_names(path)
    lacking = [] if (path / "config.json").is_file() or "adapter_config.json" in names else ["config.json"]
    if (path / _INDEX).is_file():
        placed = sorted(set(_weight_map(path / _INDEX).values()))
        lacking += [name for name in placed if not (path / name).is_file()]
    elif not any((path / name).is_file() for name in names if name.endswith(".safetensors")):
        lacking.append(_WHOLE)
    return ", ".join(lacking[:3]) + (" …" if len(lacking) > 3 else "")


def find_weights(path: Path) -> tuple[Path, ...]:
    """Return a folder's files of weights, in order.

    Args:
        path: of the folder.

    Raises:
        StorageError: if it has none that can be read, only a part of them, or two versions.
    """
    index, whole = path / _INDEX, path / _WHOLE
    if not index.is_file():
        if whole.is_file():
            return (whole,)
        raise StorageError(f"{path} {why_no_weights(file_names(path))}{incomplete(path)}")
    placed = _weight_map(index)
    names = sorted(set(placed.values()))
    if whole.is_file() and _WHOLE not in names:
        raise StorageError(
            f"{path} holds its weights twice: {_WHOLE}, and the {len(names)} files that {_INDEX} names. "
            "Which of them is the model is not known; take the other out of the folder."
        )
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise StorageError(
            f"{path} lacks {len(missing)} of {len(names)} weight files ({', '.join(missing[:3])})."
            f"{incomplete(path)} Fetch the model again."
        )
    return tuple(path / name for name in names)


def _weight_map(index: Path) -> dict[str, str]:
    parts = read_json(index, most=64 << 20).get("weight_map")
    if not isinstance(parts, dict) or not parts or not all(_plain_name(name) for name in parts.values()):
        raise StorageError(f"{index} names no weight files of this folder. Fetch the model again.")
    return parts


def _plain_name(name: Any) -> bool:
    return (
        isinstance(name, str)
        and name.endswith(".safetensors")
        and Path(name).name == name
        and "\\" not in name
    )


def why_no_weights(names: list[str]) -> str:
    """Return why a folder or repository with these files has no weights that can be read, with what to do.

    Args:
        names: of the files there.
    """
    tensors = [name for name in names if name.endswith(".safetensors")]
    if any(_SHARD.fullmatch(name) for name in tensors):
        return (
            f"has parts of its weights ({tensors[0]} …) and no {_INDEX} that says what they hold. Fetch that "
            "file of the same model into it."
        )
    if "adapter_model.safetensors" in tensors:
        return (
            "holds an adapter (adapter_model.safetensors) and no model. Merge it into its base model, save "
            "that, and give its folder."
        )
    if tensors:
        return (
            f"has weights named {tensors[0]}, and only {_WHOLE} is read. If they are the whole model, rename "
            "the file."
        )
    pickled = sorted(name for name in names if name.endswith(_PICKLED))
    if pickled:
        return (
            f"has its weights as pickle only ({pickled[0]}): opening such a file can run any code, so it is "
            "never opened here. Take a version with model.safetensors, or convert it where you trust it "
            "(save_pretrained writes safetensors)."
        )
    if any(name.endswith(".gguf") for name in names):
        return "holds its weights as GGUF, a quantised format. Take the version with model.safetensors."
    if any(name.endswith((".h5", ".msgpack", ".onnx")) for name in names):
        return "has weights for another library only. Take a version with model.safetensors."
    return "holds no weights: there is no model.safetensors."


def stored_tensors(path: Path, weights: tuple[Path, ...]) -> dict[str, Stored]:
    """Return what a folder's files of weights hold, from their headers.

    Args:
        path: of the folder.
        weights: from `find_weights`.

    Raises:
        StorageError: if a file is damaged, one tensor lies in two, the index is of another model, or the
            values are no weights.
    """
    tensors = _headers(weights)
    if len(weights) > 1 or (path / _INDEX).is_file():
        _check_index(path / _INDEX, tensors)
    _refuse_kinds(path, tensors)
    return tensors


def _headers(weights: tuple[Path, ...]) -> dict[str, Stored]:
    """Read every file's header; a tensor may lie in one file only."""
    tensors: dict[str, Stored] = {}
    for file in weights:
        for name, stored in read_header(file).items():
            if name in tensors:
                raise StorageError(
                    f"{name} lies in {tensors[name].file.name} and in {file}: these files are not of one "
                    "model. Fetch the model again."
                )
            tensors[name] = stored
    return tensors


def _check_index(index: Path, tensors: Mapping[str, Stored]) -> None:
    """Compare the index with what the files hold: it is written with them, or it is of another model."""
    placed = _weight_map(index)
    for name, file in placed.items():
        if name not in tensors or tensors[name].file.name != file:
            raise StorageError(
                f"{index} says that {name[:200]} lies in {file}, and it does not: the index and the files "
                "are not of one model. Fetch the model again."
            )
    extra = next((name for name in tensors if name not in placed), None)
    if extra is not None:
        raise StorageError(
            f"{tensors[extra].file} holds {extra[:200]}, which {index.name} does not know: the index and the "
            "files are not of one model. Fetch the model again."
        )


def _refuse_kinds(path: Path, tensors: Mapping[str, Stored]) -> None:
    """Refuse stored values that are not the weights, and the weights of an adapter."""
    for name, stored in tensors.items():
        packed = stored.dtype.startswith(("I", "U", "BOOL")) and name.endswith("weight")
        if packed or stored.dtype.startswith(("F4", "F6", "F8", "C")):
            raise StorageError(
                f"{stored.file} is quantised: it holds values of type {stored.dtype} ({name[:200]}). Take "
                "the unquantised model."
            )
    adapters = [name for name in tensors if ".lora_" in name or name.startswith("base_model.model.")]
    if adapters:
        raise StorageError(
            f"{path} holds the weights of an adapter ({adapters[0][:200]}), not those of a model. Merge it "
            "into its base model, save that, and give its folder."
        )
