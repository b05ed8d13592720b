"""Read the files of a sample's folder: whole and unchanged, or an error that says what to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import StorageError

__all__ = ["REPAIR", "checked_bytes", "choose", "read_bytes", "read_json", "read_story", "read_text"]

REPAIR = "Restore the folder from the repository, or rebuild it with its train.py."


def read_story(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a `Sample` that its folder holds in words and numbers.

    Args:
        folder: of the sample.
        config: its config.json.

    Returns:
        name, title, summary, card, metrics, config and folder.

    Raises:
        StorageError: if a file is missing, damaged, or no JSON object.
    """
    return {
        "name": folder.name,
        "title": config["title"],
        "summary": config["summary"],
        "card": read_text(folder / "card.md"),
        "metrics": read_json(folder / "metrics.json"),
        "config": config,
        "folder": folder,
    }


def choose(config: Mapping[str, Any], key: str, known: Mapping[str, Callable], path: Path) -> Callable:
    """Return what a config asks for by name.

    Args:
        config: the config, or a part of it.
        key: under which the name stands.
        known: what there is, by name.
        path: of the config, for messages.

    Raises:
        StorageError: if there is nothing of that name.
    """
    if config.get(key) not in known:
        raise StorageError(
            f"{path} says {key} = {config.get(key)!r}, which this version cannot load; "
            f"it knows {', '.join(map(repr, known))}. Update the package, or correct the file."
        )
    return known[config[key]]


def checked_bytes(folder: Path, file: str, config: dict[str, Any]) -> bytes:
    """Read a file and compare it with the hash in the config: no format here checks all its bytes.

    Args:
        folder: of the sample.
        file: name of the file.
        config: the sample's config.json; ``["sha256"]`` holds the hashes.

    Returns:
        The bytes.

    Raises:
        StorageError: if the file cannot be read, or is another one.
    """
    data = read_bytes(folder / file)
    if hashlib.sha256(data).hexdigest() != config["sha256"].get(file):
        raise StorageError(
            f"{folder / file} is damaged or not the file that config.json belongs to "
            f"({len(data)} bytes, wrong SHA-256). {REPAIR}"
        )
    return data


def read_bytes(path: Path) -> bytes:
    """Read the bytes of a file.

    Args:
        path: of the file.

    Returns:
        The bytes.

    Raises:
        StorageError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}. {REPAIR}") from error


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text.

    Args:
        path: of the file.

    Returns:
        The text.

    Raises:
        StorageError: if it cannot be read, or is no such text.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{path} is not UTF-8 text ({error}). {REPAIR}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: of the file.

    Returns:
        The object.

    Raises:
        StorageError: if it cannot be read, or holds anything else.
    """
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise StorageError(f"{path} is not valid JSON ({error}). {REPAIR}") from error
    if not isinstance(value, dict):
        raise StorageError(f"{path} should hold a JSON object; found {type(value).__name__}. {REPAIR}")
    return value
