"""Check a model folder before anything of it is loaded: its config, and the very files that will be read.

Only safetensors weights and code that is part of transformers: pickled weights can run anything when they are
opened, and a config that brings its own code asks for just that. Both are refused with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..libraries import first_line
from .plausible import check_plausible
from .safetensors_header import Stored, read_header

__all__ = ["ModelFolder", "incomplete", "inspect_folder", "missing_files", "read_json", "why_no_weights"]

MOST_JSON = 8 << 20
"""Bytes of a config: the largest in use (thousands of class names) have some hundred thousand."""

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_UNFINISHED = (".incomplete", ".part", ".crdownload", ".aria2", ".tmp", ".download")
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}\.safetensors")
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"
_CONFIGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
_SWITCHES = {
    "transformers_weights": "another file for the weights than the one that is checked",
    "fusion_config": "other code in the place of the model's own",
}


@dataclass(frozen=True)
class ModelFolder:
    """A folder that passed the checks.

    Attributes:
        path: where.
        config: its config.json.
        weights: its safetensors files, in order; these and no others are loaded.
        nbytes: of all of them together.
        tensors: what they hold, by name.
        stamps: size, time of change and number of every file of `weights` when it was checked.
    """

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    nbytes: int
    tensors: Mapping[str, Stored] = field(default_factory=dict, repr=False)
    stamps: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)

    @property
    def model_type(self) -> str:
        """What transformers calls this kind of model; empty if it is none of its kinds."""
        return str(self.config.get("model_type") or "")

    def check_unchanged(self) -> None:
        """Raise a StorageError if a file of `weights` is no longer the one that was checked."""
        for file, stamp in zip(self.weights, self.stamps, strict=True):
            if _stamp(file) != stamp:
                raise StorageError(
                    f"{file} was changed while it was read. Try again when nothing writes to it."
                )


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (-1, -1, -1)
    return found.st_size, found.st_mtime_ns, found.st_ino


def inspect_folder(path: Path) -> ModelFolder:
    """Check a model folder without loading a weight.

    Raises:
        StorageError: no or broken config.json; code of its own; quantised; an adapter; no, pickled, damaged
            or doubtful weights.
    """
    config = _read_config(path)
    names = _names(path)
    for file in _CONFIGS:
        _refuse_code(path / file, config if file == "config.json" else None)
    for key, what in _SWITCHES.items():
        if config.get(key):
            raise StorageError(
                f"{path / 'config.json'} asks for {what} ({key}). Remove it from a copy of the file."
            )
    if "adapter_config.json" in names:
        raise StorageError(
            f"{path} holds a model and an adapter for one (adapter_config.json): whether it is meant is not "
            "known. Merge the adapter and save the model, or take adapter_config.json out of a copy."
        )
    _refuse_quantised(path, config)
    weights = _weights(path)
    stamps = tuple(_stamp(part) for part in weights)
    tensors = _tensors(weights)
    if len(weights) > 1 or (path / _INDEX).is_file():
        _check_index(path / _INDEX, tensors)
    _refuse_kinds(path, tensors)
    check_plausible(path / "config.json", config, tensors)
    return ModelFolder(path, config, weights, sum(stamp[0] for stamp in stamps), tensors, stamps)


def _names(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}).") from None


def _read_config(path: Path) -> dict[str, Any]:
    names = _names(path)
    if (path / "config.json").is_file():
        return read_json(path / "config.json")
    if any(name.endswith(".gguf") for name in names):
        raise StorageError(
            f"{path} holds GGUF, a quantised format: its values are not the weights. Take the folder of the "
            "same model with config.json and model.safetensors."
        )
    if "adapter_config.json" in names:
        raise StorageError(
            f"{path} holds an adapter, not a model{_base_of(path)}. Merge it into its base model, save that, "
            "and give its folder."
        )
    if any(name.endswith(".safetensors") for name in names):
        raise StorageError(
            f"{path} is no model folder: it has weights and no config.json that says what they are of. Was "
            f"its download interrupted?{incomplete(path)} Fetch config.json of the same model into it."
        )
    found = ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "nothing"
    raise StorageError(f"{path} is no model folder: it has no config.json. Found: {found}.")


def _base_of(path: Path) -> str:
    try:
        base = read_json(path / "adapter_config.json").get("base_model_name_or_path")
    except StorageError:
        return ""
    return f" (its base: {str(base)[:200]!r})" if base else ""


def incomplete(path: Path) -> str:
    """Return a sentence on what a download that ended early has left in a folder; "" if nothing."""
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
    """Return the names of files without which a folder is a part of a model; "" if none is known to lack."""
    names = _names(path)
    lacking = [] if (path / "config.json").is_file() or "adapter_config.json" in names else ["config.json"]
    if (path / _INDEX).is_file():
        placed = sorted(set(_weight_map(path / _INDEX).values()))
        lacking += [name for name in placed if not (path / name).is_file()]
    elif not any((path / name).is_file() for name in names if name.endswith(".safetensors")):
        lacking.append(_WHOLE)
    return ", ".join(lacking[:3]) + (" …" if len(lacking) > 3 else "")


def read_json(file: Path, most: int = MOST_JSON) -> dict[str, Any]:
    """Return the object that a JSON file of the folder holds.

    Raises:
        StorageError: too large, no JSON, or no object.
    """
    try:
        size = file.stat().st_size
        if size > most:
            raise StorageError(
                f"{file} has {size / 2**20:,.0f} MB; at most {most >> 20} MB are read. It is no such file."
            )
        with open(file, "rb") as opened:
            value = json.loads(opened.read(most + 1).decode("utf-8"), object_pairs_hook=_each_once)
    # Endless digits are a ValueError too, and brackets in brackets end the stack.
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{file} cannot be read as JSON ({first_line(error)}).") from None
    if not isinstance(value, dict):
        raise StorageError(f"{file} should hold a JSON object; found {type(value).__name__}.")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} stands there twice")
    return found


def _refuse_code(file: Path, config: dict[str, Any] | None) -> None:
    if config is None and file.exists() and not file.is_file():
        raise StorageError(f"{file} is no plain file. Take it out of the folder.")
    brought = (config if config is not None else read_json(file) if file.is_file() else {}).get("auto_map")
    if brought:
        names = ", ".join(map(str, brought)) if isinstance(brought, dict | list) else str(brought)
        raise StorageError(
            f"{file} asks for code of its own (auto_map: {names[:200]}). "
            "Code from a model folder is never run here. If transformers knows this kind of model by "
            "itself, remove auto_map from a copy of the file."
        )


def _refuse_quantised(path: Path, config: dict[str, Any]) -> None:
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    found = next((part["quantization_config"] for part in parts if part.get("quantization_config")), None)
    if not found:
        return
    method = str(found.get("quant_method", "an unnamed method")) if isinstance(found, dict) else str(found)
    bits = found.get("bits") if isinstance(found, dict) else None
    if isinstance(found, dict) and bits is None:
        bits = next((n for n in (4, 8) if found.get(f"load_in_{n}bit")), None)
    raise StorageError(
        f"{path} is quantised ({method[:80]}{f', {str(bits)[:20]} bits' if bits else ''}): its stored values "
        "are not the weights, and an engram cannot be subtracted from them. Take the unquantised model, or "
        "dequantise it and save it."
    )


# -- weights -----------------------------------------------------------------------------------------


def _weights(path: Path) -> tuple[Path, ...]:
    index, whole = path / _INDEX, path / _WHOLE
    if not index.is_file():
        if whole.is_file():
            return (whole,)
        raise StorageError(f"{path} {why_no_weights(_names(path))}{incomplete(path)}")
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
    """Return why a folder or repository with these files has no weights that can be read, with what to do."""
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


def _tensors(weights: tuple[Path, ...]) -> dict[str, Stored]:
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
