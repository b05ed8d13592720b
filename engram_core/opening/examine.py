"""Try a model and concepts that come from others: read them, and check them up, with nothing kept.

Made for a process of its own (`limited`): what a foreign folder does when it is opened, it does here.
"""

from __future__ import annotations

import hashlib
import itertools
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError, EngramError
from ..hub.downloads import find_folder
from ..models.identity import model_hash
from ..sandboxing.limits import Limits
from ..vision.picture_files import MAX_FILES
from .checkup import CheckUp, check_up
from .load import load_subject
from .samples import missing_samples, sample_names

__all__ = ["Examined", "content_of", "examine", "is_path", "examination_limits"]

_READ = (".json", ".txt", ".model", ".jinja", ".tiktoken")
"""Endings of the files beside the weights that are read."""
_MOST_READ = 256 << 20  # bytes; a file of more is refused when it is read
_SAMPLE = 1 << 30  # bytes to count for the weights of a sample, which are ours


@dataclass(frozen=True)
class Examined:
    """What was found.

    Attributes:
        check: the check-up.
        content: stands for every file that was read, except the weights; see `content_of`.
        model: hash of the model that was read; see `identity.model_hash`.
    """

    check: CheckUp
    content: str
    model: str

    @classmethod
    def of(cls, answer: Any) -> Examined:
        """Return what `examine` answered.

        Args:
            answer: from `examine`.

        Raises:
            EngramError: that is no such answer.
        """
        try:
            return cls(CheckUp.restore(answer["check"]), str(answer["content"]), str(answer["model"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EngramError(f"The check-up gave no answer that can be understood ({error!r}).") from None


def examination_limits(model: str, concepts: str) -> Limits:
    """Return what a process may take that examines them.

    Args:
        model: see `load_subject`.
        concepts: see `load_subject`.
    """
    weights = _SAMPLE if _is_sample(model) else sum(_size(file) for file in _weights(model))
    size = 0
    try:
        place = Path(concepts).expanduser()
        # A path named by mistake may have a whole disk below it.
        files = itertools.islice(place.rglob("*"), MAX_FILES) if place.is_dir() else (place,)
        size = sum(_size(file) for file in files)
    except (OSError, RuntimeError, ValueError):
        pass  # reading it says what is wrong
    return Limits.for_bytes(weights, size)


def examine(
    model: str,
    concepts: str,
    options: Mapping[str, Any],
    *,
    most_concepts: int,
    threads: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Read a model with concepts and check them up; return it as JSON for `Examined.of`.

    Args:
        model: see `load_subject`; what comes from the hub is in its cache already.
        concepts: see `load_subject`.
        options: see `load_subject`.
        most_concepts: more are refused.
        threads: of torch, for the timed trial.
        report: is told what is being done.

    Returns:
        What was found, as JSON can hold it.

    Raises:
        EngramError: what is wrong with the model or the concepts; or they were changed meanwhile.
    """
    torch.set_num_threads(threads)
    report("Reading the model and the concepts")
    before = content_of(model, concepts)
    sample = load_subject(model, concepts, **options)
    if len(sample.concepts) > most_concepts:
        raise DataError(
            f"There are {len(sample.concepts):,} concepts; these pages show at most {most_concepts:,}. Take "
            "fewer, or use the command line, which has no such limit."
        )
    sample.task.rehearse(sample.model, report)
    report("A few inputs go through the model by the clock")
    check = check_up(sample.model, sample.concepts)
    report("Comparing what was read with what is there")
    digest = model_hash(sample.model)
    if content_of(model, concepts) != before:
        raise DataError(
            "The model or its concepts were changed while they were read. Check again when nothing writes "
            "to them."
        )
    return {"check": check.state(), "content": before, "model": digest}


def content_of(model: str, concepts: str) -> str:
    """Return a text that stands for the content of all files that are read, except the weights.

    Those are told apart by the hash of the model. Reading says what is wrong with files that cannot be read.

    Args:
        model: see `load_subject`.
        concepts: see `load_subject`.
    """
    digest = hashlib.sha256()
    place = _place(model)
    for file in _entries(place) if place is not None else ():
        if file.suffix.casefold() in _READ:
            _add(digest, file, most=_MOST_READ)
    for file in _files(concepts):
        _add(digest, file)
    return digest.hexdigest()


def _add(digest: Any, file: Path, *, most: int | None = None) -> None:
    digest.update(str(file).encode("utf-8", "surrogatepass") + b"\0")
    try:
        size = file.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        if most is None or size <= most:
            with open(file, "rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    except OSError:
        digest.update(b"unread")


def _place(model: str) -> Path | None:
    """Return the folder of a model that comes from others; None for a sample, and a file by itself."""
    if _is_sample(model):
        return None
    try:
        return find_folder(model)
    except (EngramError, OSError):
        return None  # reading it says what is wrong


def _is_sample(model: str) -> bool:
    return model in (*sample_names(), *missing_samples())


def _weights(model: str) -> Iterator[Path]:
    place = _place(model)
    if place is None and is_path(model):
        place = Path(model).expanduser()
    files = (*_entries(place), place) if place is not None else ()
    yield from (file for file in files if file.suffix == ".safetensors")


def is_path(text: str) -> bool:
    """Return whether there is a file or a folder of that name.

    Args:
        text: what was typed.
    """
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(entry for entry in place.iterdir() if entry.is_file())
    except OSError:
        return []


def _files(path: str) -> list[Path]:
    """Return a file, or all files below a folder."""
    try:
        place = Path(path).expanduser()
        if place.is_dir():
            found = itertools.islice(place.rglob("*"), MAX_FILES + 1)  # of more, none is read
            return sorted(entry for entry in found if entry.is_file())
        return [place] if place.is_file() else []
    except (OSError, RuntimeError, ValueError):
        return []


def _size(file: Path) -> int:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
