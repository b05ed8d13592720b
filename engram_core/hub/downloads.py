"""Find a model folder, locally or on the Hugging Face hub; what is in it is checked by `folder`."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import StorageError
from ..libraries import first_line, need
from .folder import ModelFolder, inspect_folder
from .pretrained import load_pretrained
from .weight_files import missing_files, why_no_weights

__all__ = ["ModelFolder", "find_folder", "inspect_folder", "load_pretrained", "need", "model_story"]

WAIT = 8.0
"""Seconds that the hub has to answer before it counts as out of reach."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken"]


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
    try:
        path = Path(text).expanduser()
        folder, file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a zero byte
        raise StorageError(f"{text[:80]!r} is no path ({first_line(error)}), and no hub name.") from None
    if folder:
        return path
    if file:
        kind = "a GGUF file" if path.suffix == ".gguf" else "a file"
        raise StorageError(f"{path} is {kind}; give the folder with config.json and model.safetensors.")
    if not _HUB_NAME.fullmatch(text) or text.count("/") > 1:
        raise StorageError(
            f"There is no folder {path}, and {text!r} is no hub name (those look like 'owner/model')."
        )
    hub = need("huggingface_hub", "A model from the hub")
    held = f"has no {text!r}"
    try:
        cached = Path(hub.snapshot_download(text, local_files_only=True, allow_patterns=_WANTED))
    except (OSError, ValueError):
        pass  # not in the cache
    else:
        lacking = missing_files(cached)
        if not lacking:
            return cached
        held = f"has only a part of {text!r} (its download was interrupted: it lacks {lacking})"
    return _fetch(hub, text, f"There is no folder {path}, the hub's cache on this machine {held}, and ", wait)


def _fetch(hub: Any, name: str, absent: str, wait: float) -> Path:
    errors = need("huggingface_hub.errors", "A model from the hub")
    cure = "Give the path of a local folder, or download the model where there is a network."
    if hub.constants.HF_HUB_OFFLINE:
        raise StorageError(f"{absent}the hub is switched off (HF_HUB_OFFLINE). {cure}")
    try:
        about = _within(wait, lambda: hub.HfApi().model_info(name, timeout=wait))
    except errors.GatedRepoError:
        raise _gated(name) from None
    except errors.RepositoryNotFoundError:
        raise StorageError(
            f"{absent}the hub has no model {name!r} (or it is private and you are not logged in). Check the "
            "spelling."
        ) from None
    except Exception as error:  # every network library has errors of its own; none of them is ours
        raise StorageError(
            f"{absent}huggingface.co cannot be reached ({first_line(error)}). {cure}"
        ) from None
    files = [file.rfilename for file in about.siblings or []]
    if files and not any(file.endswith(".safetensors") for file in files):
        raise StorageError(f"{name!r} on the hub {why_no_weights(files)}")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=_WANTED, etag_timeout=wait))
    except errors.GatedRepoError:  # what it holds may be listed all the same
        raise _gated(name) from None
    except Exception as error:
        raise StorageError(f"Fetching {name!r} failed: {first_line(error)}. Try again.") from None


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


def model_story(
    path_or_name: str | os.PathLike[str], folder: Path, model: nn.Module, *, concepts: int, digits: int
) -> dict[str, Any]:
    """Return what can be said of a model that has no card, as those attributes of a `Sample`.

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
