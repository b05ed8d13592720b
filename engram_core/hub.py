"""Find a model folder, locally or on the Hugging Face hub, and check it before anything of it is loaded.

Only safetensors weights and code that is part of transformers: pickled weights can run anything when they are
opened, and a config that brings its own code asks for just that. Both are refused with the reason.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from .errors import DependencyError, StorageError
from .loading import TRANSFORMERS

__all__ = ["ModelFolder", "find_folder", "inspect_folder", "load_pretrained", "need", "own_story"]

WAIT = 8.0
"""Seconds that the hub has to answer before it counts as out of reach."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_INSTALL = "pip install 'engram-explorer[language]'"


@dataclass(frozen=True)
class ModelFolder:
    """A folder that passed the checks.

    Attributes:
        path: where.
        config: its config.json.
        weights: its safetensors files, in order.
        nbytes: of all of them together.
    """

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    nbytes: int

    @property
    def model_type(self) -> str:
        """What transformers calls this kind of model; empty if it is none of its kinds."""
        return str(self.config.get("model_type") or "")


def need(module: str, what: str, install: str = _INSTALL) -> Any:
    """Import an optional module, or say what it is needed for and how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"{what} needs {error.name or module}, which is not installed: {install}."
        ) from None


def find_folder(name: str | os.PathLike[str], *, wait: float = WAIT) -> Path:
    """Return the folder of a model: `name` itself, or its copy in the hub's cache, fetched if need be.

    What is in the cache is used without asking the network.

    Args:
        name: a folder, or a hub name like ``owner/model``.
        wait: seconds the hub has to answer.

    Raises:
        StorageError: in one line: no such folder, hub out of reach or switched off, no such model, or gated.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        kind = "a GGUF file" if path.suffix == ".gguf" else "a file"
        raise StorageError(f"{path} is {kind}; give the folder with config.json and model.safetensors.")
    if not _HUB_NAME.fullmatch(text) or text.count("/") > 1:
        raise StorageError(
            f"There is no folder {path}, and {text!r} is no hub name (those look like 'owner/model')."
        )
    hub = need("huggingface_hub", "A model from the hub")
    try:
        cached = Path(hub.snapshot_download(text, local_files_only=True, allow_patterns=_WANTED))
        if any(cached.glob("*.safetensors")):
            return cached
    except (OSError, ValueError):
        pass  # not in the cache, or not all of it
    return _fetch(hub, text, path, wait)


def _fetch(hub: Any, name: str, path: Path, wait: float) -> Path:
    errors = need("huggingface_hub.errors", "A model from the hub")
    absent = f"There is no folder {path}, the hub's cache on this machine has no {name!r}, and "
    cure = "Give the path of a local folder, or download the model where there is a network."
    if hub.constants.HF_HUB_OFFLINE:
        raise StorageError(f"{absent}the hub is switched off (HF_HUB_OFFLINE). {cure}")
    try:
        about = _within(wait, lambda: hub.HfApi().model_info(name, timeout=wait))
    except errors.GatedRepoError:
        raise _gated(name) from None
    except errors.RepositoryNotFoundError:
        raise StorageError(
            f"There is no folder {path}, and the hub has no model {name!r} (or it is private and you are not "
            "logged in). Check the spelling."
        ) from None
    except Exception as error:  # every network library has errors of its own; none of them is ours
        raise StorageError(
            f"{absent}huggingface.co cannot be reached ({_first_line(error)}). {cure}"
        ) from None
    files = [file.rfilename for file in about.siblings or []]
    if files and not any(file.endswith(".safetensors") for file in files):
        raise StorageError(f"{name!r} on the hub {_why_no_weights(files)}")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=_WANTED, etag_timeout=wait))
    except errors.GatedRepoError:  # what it holds may be listed all the same
        raise _gated(name) from None
    except Exception as error:
        raise StorageError(f"Fetching {name!r} failed: {_first_line(error)}. Try again.") from None


def _gated(name: str) -> StorageError:
    return StorageError(
        f"{name!r} is gated: accept its terms at https://huggingface.co/{name}, log in with 'hf auth login', "
        "and try again."
    )


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Run `call` for at most so long: looking up a name can hang where no time limit reaches it."""
    result: dict[str, Any] = {}

    def run() -> None:
        try:
            result["value"] = call()
        except BaseException as error:
            result["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in result:
        raise result["error"]
    if "value" not in result:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return result["value"]


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".")[:200]


def inspect_folder(path: Path) -> ModelFolder:
    """Check a model folder without loading a weight.

    Raises:
        StorageError: no or broken config.json; code of its own; quantised; no, pickled or damaged weights.
    """
    config = _read_config(path)
    for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        brought = _read_json(path / file).get("auto_map") if (path / file).is_file() else None
        if brought:
            names = ", ".join(map(str, brought))
            raise StorageError(
                f"{path / file} asks for code of its own (auto_map: {names}). "
                "Code from a model folder is never run here. If transformers knows this kind of model by "
                "itself, remove auto_map from a copy of the file."
            )
    _refuse_quantised(path, config)
    weights = _weights(path)
    for part in weights:
        _check_weights(part)
    return ModelFolder(path, config, weights, sum(part.stat().st_size for part in weights))


def _read_config(path: Path) -> dict[str, Any]:
    if (path / "config.json").is_file():
        return _read_json(path / "config.json")
    names = sorted(entry.name for entry in path.iterdir())
    if any(name.endswith(".gguf") for name in names):
        raise StorageError(
            f"{path} holds GGUF, a quantised format: its values are not the weights. Take the folder of the "
            "same model with config.json and model.safetensors."
        )
    if "adapter_config.json" in names:
        raise StorageError(
            f"{path} holds an adapter, not a model. Merge it into its base model, save that, and give its "
            "folder."
        )
    found = ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "nothing"
    raise StorageError(f"{path} is no model folder: it has no config.json. Found: {found}.")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{file} cannot be read as JSON ({_first_line(error)}).") from None
    if not isinstance(value, dict):
        raise StorageError(f"{file} should hold a JSON object; found {type(value).__name__}.")
    return value


def _refuse_quantised(path: Path, config: dict[str, Any]) -> None:
    found = config.get("quantization_config") or (config.get("text_config") or {}).get("quantization_config")
    if not found:
        return
    method = str(found.get("quant_method", "an unnamed method")) if isinstance(found, dict) else str(found)
    bits = found.get("bits") if isinstance(found, dict) else None
    if isinstance(found, dict) and bits is None:
        bits = next((n for n in (4, 8) if found.get(f"load_in_{n}bit")), None)
    raise StorageError(
        f"{path} is quantised ({method}{f', {bits} bits' if bits else ''}): its stored values are not the "
        "weights, and an engram cannot be subtracted from them. Take the unquantised model, or dequantise it "
        "and save it."
    )


def _weights(path: Path) -> tuple[Path, ...]:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        parts = _read_json(index).get("weight_map")
        names = sorted(set(parts.values())) if isinstance(parts, dict) else []
        if not names or any(Path(str(name)).name != name for name in names):
            raise StorageError(f"{index} names no weight files of this folder. Fetch the model again.")
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise StorageError(
                f"{path} lacks {len(missing)} of {len(names)} weight files ({', '.join(missing[:3])}). "
                "Fetch the model again."
            )
        return tuple(path / name for name in names)
    if (path / "model.safetensors").is_file():
        return (path / "model.safetensors",)
    raise StorageError(f"{path} {_why_no_weights([entry.name for entry in path.iterdir()])}")


def _why_no_weights(names: list[str]) -> str:
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


def _check_weights(file: Path) -> None:
    try:
        with safe_open(str(file), framework="pt") as opened:
            names = list(opened.keys())
            kinds = {opened.get_slice(name).get_dtype() for name in names}
    except (OSError, SafetensorError) as error:
        if _is_lfs_pointer(file):
            raise StorageError(
                f"{file} is a Git LFS pointer and not the weights. Run 'git lfs pull' in {file.parent}."
            ) from None
        raise StorageError(
            f"{file} is cut short, damaged or no safetensors file ({_first_line(error)}). Fetch it again."
        ) from None
    if not names:
        raise StorageError(f"{file} holds no weights.")
    odd = sorted(kind for kind in kinds if kind.startswith(("F8", "F4", "F6")))
    if odd:
        raise StorageError(
            f"{file} is quantised: it holds values of type {', '.join(odd)}. Take the unquantised model."
        )


def _is_lfs_pointer(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.read(40).startswith(b"version https://git-lfs")


def load_pretrained(folder: ModelFolder, auto: Any, known: Any, what: str, *, dtype: Any, device: Any) -> Any:
    """Load a checked folder's model, in evaluation mode; every weight must come from the folder.

    Args:
        folder: from `inspect_folder`.
        auto: transformers' class that picks the model's own class.
        known: model types that class knows.
        what: the kind of model in words, for messages.
        dtype: torch type of the weights.
        device: where to.

    Raises:
        StorageError: an unknown kind of model, or weights that do not fit.
    """
    transformers = need("transformers", what)
    kind = folder.model_type
    if kind not in known:
        every = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
        if not kind:
            said = "its config.json names no model_type"
        elif kind in every:
            said = f"{kind!r} is no {what}"
        else:
            said = f"transformers {transformers.__version__} does not know the architecture {kind!r}"
        raise StorageError(f"{folder.path} cannot be loaded as a {what}: {said}.")
    try:
        with TRANSFORMERS:
            model, found = auto.from_pretrained(
                folder.path, dtype=dtype, local_files_only=True, use_safetensors=True,
                trust_remote_code=False, output_loading_info=True,
            )  # fmt: skip
    except (ImportError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{folder.path} cannot be loaded: {_first_line(error)}.") from None
    # transformers fills gaps with random numbers and a warning; such a model answers nonsense.
    missing = sorted(map(str, found["missing_keys"]))
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise StorageError(
            f"{folder.path} lacks {len(missing)} weights of a {type(model).__name__} ({shown}): the files "
            "belong to another model or to a part of one."
        )
    wrong = found.get("mismatched_keys") or ()
    if wrong:
        name = next(iter(wrong))
        raise StorageError(f"{folder.path}: weights do not fit config.json, e.g. {name}.")
    return model.to(device).eval()


def own_story(
    path_or_name: str | os.PathLike[str], folder: Path, model: nn.Module, *, concepts: int, digits: int
) -> dict[str, Any]:
    """Return what can be told of a model of one's own, as those attributes of a `samples.Sample`.

    Args:
        path_or_name: what the user called it.
        folder: where it was found.
        model: itself.
        concepts: how many it comes with.
        digits: of its size in millions of parameters.
    """
    name = Path(os.fspath(path_or_name)).name or folder.resolve().name
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    return {
        "name": name,
        "title": name,
        "summary": f"{type(model).__name__}, {millions:,.{digits}f} million parameters, {concepts} concepts.",
        "card": f"# {name}\n\nLoaded from `{folder}`. What it was trained on is not known here.\n",
        "metrics": {},
        "folder": folder,
    }
