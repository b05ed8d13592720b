"""Check a model folder before anything of it is loaded: its config, and the very files that will be read.

Only safetensors weights and code that is part of transformers: pickled weights can run anything when they are
opened, and a config that brings its own code asks for just that. Both are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StorageError
from .json_file import read_json
from .plausible import check_plausible
from .safetensors_header import Stored
from .weight_files import file_names, find_weights, incomplete, stored_tensors

__all__ = ["ModelFolder", "inspect_folder"]


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

    Args:
        path: of the folder.

    Returns:
        What the folder holds.

    Raises:
        StorageError: no or broken config.json; code of its own; quantised; an adapter; no, pickled, damaged
            or doubtful weights.
    """
    config = _read_config(path)
    names = file_names(path)
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
    weights = find_weights(path)
    stamps = tuple(_stamp(part) for part in weights)
    tensors = stored_tensors(path, weights)
    check_plausible(path / "config.json", config, tensors)
    return ModelFolder(path, config, weights, sum(stamp[0] for stamp in stamps), tensors, stamps)


def _read_config(path: Path) -> dict[str, Any]:
    names = file_names(path)
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
