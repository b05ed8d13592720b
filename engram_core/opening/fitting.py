"""Do these concepts fit this model? Told from the names of files, before anything large is read."""

from __future__ import annotations

import os
from pathlib import Path

from ..concepts.sample_files import read_json
from ..errors import DataError, EngramError
from .samples import sample_folder, sample_names

__all__ = ["check_reads_pictures", "check_reads_texts", "reads_tables", "what_is"]


def what_is(path: Path) -> str:
    """Return what lies at a path that holds no texts, as the beginning of a sentence.

    Args:
        path: of the concepts.
    """
    if path.is_dir() or path.suffix.casefold() == ".zip":
        return f"{path.name} holds pictures"
    if not path.is_file():
        return f"{path} is not there"
    return f"{path.name} is neither a text file, nor a table, nor pictures"


def _kind_of(model: str | os.PathLike[str]) -> str:
    """Return whether a folder of this machine holds an ``"image"`` or a ``"language"`` model, or ""."""
    try:
        place = Path(model).expanduser()
        config = read_json(place / "config.json") if place.is_dir() else {}
        named = [str(each) for each in config.get("architectures") or ()]
    except (EngramError, OSError, RuntimeError, TypeError, ValueError):
        return ""  # reading it says what is wrong
    if any(name.endswith("ForImageClassification") for name in named):
        return "image"
    return "language" if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in named) else ""


def check_reads_pictures(model: str | os.PathLike[str], path: Path) -> None:
    """Refuse pictures for a language model.

    Args:
        model: a folder, if it is one of this machine.
        path: of the pictures.

    Raises:
        DataError: saying what was given, and what the model reads.
    """
    if _kind_of(model) == "language":
        raise DataError(
            f"{what_is(path)}, and {Path(model).name} is a language model: it reads texts "
            "(.jsonl, .json or .csv)."
        )


def check_reads_texts(model: str | os.PathLike[str], path: Path) -> None:
    """Refuse texts for an image classifier.

    Args:
        model: a folder, if it is one of this machine.
        path: of the texts.

    Raises:
        DataError: saying what was given, and what the model reads.
    """
    if _kind_of(model) == "image":
        raise DataError(
            f"{path.name} holds texts, and {Path(model).name} is an image classifier: it reads "
            "pictures, in a folder or .zip with one folder per class."
        )


def reads_tables(model: str | os.PathLike[str]) -> bool:
    """Return whether a model reads rows of numbers; reading it says what is wrong with it.

    Args:
        model: a folder, or the name of a sample.
    """
    try:
        if isinstance(model, str) and model in sample_names():
            return read_json(sample_folder(model) / "config.json").get("kind") == "table-classifier"
        place = Path(model).expanduser()
        config = read_json(place / "config.json") if place.is_dir() else {}
    except (EngramError, OSError, RuntimeError, ValueError):
        return False
    # One of our own architectures reads no texts; which of them reads pictures is said when it is loaded.
    return "architecture" in config and "model_type" not in config
