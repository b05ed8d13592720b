"""Files: one safetensors file each, with provenance as JSON in its header. Never pickle.

A file appears whole or not at all (see `files`), and carries the hash of the model it belongs to. Reading
maps it: a tensor's numbers come from the disk when they are first used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import StorageError, with_article
from .files import new_file

__all__ = ["check_json", "header_field", "read_tensors", "write_tensors"]

FORMAT = 1
_TRIES = 100  # to read a file that others keep replacing


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], about: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON object to one safetensors file, whole or not at all.

    Args:
        path: where; an existing file is replaced only when the new one is complete.
        tensors: by name; copied to contiguous memory where needed.
        about: the JSON object; must have a ``"kind"``.

    Raises:
        StorageError: if it cannot be written; says why, and the old file is still there.
    """
    text = json.dumps({"format": FORMAT, **about}, ensure_ascii=False)
    ready = _apart({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    with new_file(path) as temporary:
        save_file(ready, temporary, metadata={"engram": text, "sha256": _digest(text, ready)})


def _digest(about: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash everything in a file but the numbers themselves: one wrong byte there can still be valid."""
    shapes = (f"{name}|{t.dtype}|{tuple(t.shape)}" for name, t in sorted(tensors.items()))
    return hashlib.sha256("\n".join((about, *shapes)).encode()).hexdigest()


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy what shares memory (tied weights, rows of a common history): the format refuses it."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        address = tensor.data_ptr()
        if tensor.numel() and address in seen:
            tensors[name] = tensor.clone()
        seen.add(address)
    return tensors


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `write_tensors`.

    Args:
        path: the file.
        kind: what it must hold.

    Returns:
        The tensors by name, and the file's header.

    Raises:
        StorageError: if it is missing, cut short, not ours, of another kind or a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"There is no file {path}.")
    try:
        # Header and numbers are opened one after the other; between, another file may take its place.
        for _ in range(_TRIES):
            before = _which(path)
            with safe_open(str(path), framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if _which(path) == before:
                break
        about = json.loads(header.get("engram", "null"))
    except (OSError, SafetensorError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read ({error}): it is cut short, damaged, or no safetensors file. "
            "Make it again, or restore it from a copy."
        ) from error
    if not isinstance(about, dict) or "kind" not in about:
        raise StorageError(f"{path} is a safetensors file, but not one that Engram Explorer wrote.")
    if about["kind"] != kind:
        raise StorageError(f"{path} holds {with_article(about['kind'])}; expected {with_article(kind)}.")
    if about.get("format") != FORMAT:
        raise StorageError(
            f"{path} has format {about.get('format')}; this version reads format {FORMAT}. "
            "Use the version that wrote it, or make it again."
        )
    if header.get("sha256") != _digest(header["engram"], tensors):
        raise StorageError(f"{path} is damaged: its header was changed. Make it again, or restore a copy.")
    return tensors, about


def _which(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def header_field(path: Any, header: Mapping[str, Any], name: str) -> Any:
    """Return one value of a header.

    Raises:
        StorageError: if it is not there.
    """
    if name not in header:
        raise StorageError(f"{path} lacks {name!r} in its header; it is damaged. Make it again.")
    return header[name]


def check_json(about: Any) -> None:
    """Raise StorageError unless JSON can hold what a user wants to keep with a file."""
    try:
        json.dumps(about)
    except (TypeError, ValueError) as error:
        raise StorageError(f"about must hold what JSON can hold: {error}.") from None
