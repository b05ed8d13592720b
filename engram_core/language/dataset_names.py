"""Concepts by the name of a dataset on the Hugging Face hub, where package and network are there."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

from ..errors import DataError, StorageError
from ..libraries import first_line, foreign_errors, need
from ..storing.workplaces import Scratch
from .text_files import MOST_FILE

__all__ = ["dataset_file", "is_dataset", "is_fetched"]

_NAME = re.compile(
    r"datasets:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<split>[\w.-]+))?", re.ASCII
)
_INSTALL = "pip install 'datasets>=4'"

_guard = threading.Lock()
_fetched: dict[str, tuple[Scratch, Path]] = {}


def is_dataset(text: str) -> bool:
    """Return whether a text names a dataset: ``datasets:NAME``, ``datasets:NAME:CONFIG@SPLIT``.

    Args:
        text: what was typed as the place of concepts.
    """
    return text.strip().startswith("datasets:")


def is_fetched(text: str) -> bool:
    """Return whether a text names a dataset that this process has fetched.

    Args:
        text: see `is_dataset`.
    """
    return text.strip() in _fetched


def dataset_file(text: str) -> Path:
    """Return a file with the rows of a dataset, which is fetched once in a process.

    Args:
        text: see `is_dataset`; without a split it is ``train``.

    Returns:
        A file of JSON Lines; it goes when the process ends.

    Raises:
        DataError: the name is of another form, or there is too much of it.
        DependencyError: the package is not installed.
        StorageError: it is not there, or out of reach.
    """
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise DataError(
            f"{text.strip()[:80]!r} names no dataset: write datasets:org/name, datasets:org/name:config or "
            "datasets:org/name:config@split."
        )
    with _guard:
        known = _fetched.get(found[0])
        if known is not None and known[1].is_file():
            return known[1]
        rows = _rows(found["name"], found["config"], found["split"] or "train")
        scratch = Scratch("dataset")
        path = scratch.path / f"{found['name'].replace('/', '-')}.jsonl"
        try:
            _write(rows, path, found[0])
        except BaseException:
            scratch.delete()
            raise
        _fetched[found[0]] = (scratch, path)
        return path


def _rows(name: str, config: str | None, split: str) -> Any:
    library = need("datasets", "A dataset by its name", _INSTALL)
    if int(str(library.__version__).partition(".")[0]) < 4:
        # Older ones run a script of the dataset's own.
        raise StorageError(f"A dataset by its name needs datasets 4 or newer: {_INSTALL}.")
    try:
        return library.load_dataset(name, config, split=split)
    except BaseException as error:  # of many kinds: no network, no such name, no such split, a damaged file
        if not foreign_errors(error):
            raise
        raise StorageError(
            f"The dataset {name}{f', {config}' if config else ''}, split {split}, could not be fetched "
            f"({type(error).__name__}: {first_line(error, 200)}). Is the network there, and the name right? "
            "A file of its rows (.jsonl, .json or .csv) does as well."
        ) from None


def _write(rows: Any, path: Path, name: str) -> None:
    size = 0
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            # What is neither text nor number (a picture, a date) is no part of a text.
            size += file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            if size > MOST_FILE:
                raise DataError(
                    f"{name} has more than {MOST_FILE >> 20} MB of texts, as much as is read. Name one split "
                    "of it, or a file with some of its rows."
                )
