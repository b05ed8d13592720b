"""A model that a Python file makes: ``file.py:make``. The file is run, so it must be one's own."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..concepts.sample import Sample
from ..concepts.tasks import Subject
from ..errors import DataError, EngramError, suggest
from ..libraries import first_line
from .made import sample_of

__all__ = ["file_and_function", "sample_of_file"]

_RETURNS = (
    "It must return a Subject, (model, concepts), (model, data, labels), or a mapping with what ec.explore "
    "takes: {'model': …, 'concepts': …, 'names': …}."
)


def file_and_function(given: str) -> tuple[Path, str]:
    """Return the file and the function that ``file.py:make`` names.

    Args:
        given: as it was typed.

    Raises:
        DataError: if it is of another form, or there is no such file.
    """
    path, colon, function = given.rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise DataError(f"{given!r} names no function of a Python file; give for example  my_model.py:make.")
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"There is no file {file}.")
    return file, function


def sample_of_file(given: str) -> Sample:
    """Run a Python file and return what one of its functions makes, as a sample.

    Args:
        given: the file and its function, as ``file.py:make``. The function takes nothing and returns a
            `Subject`, ``(model, concepts)``, ``(model, data, labels)``, or a mapping with the arguments of
            `sample_of`.

    Returns:
        The sample; it is called as the file where the function says no name.

    Raises:
        DataError: if the file or the function is not there, or it returns something else.
        EngramError: if it fails, with the line at which it does.
    """
    file, function = file_and_function(given)
    module = _run(file)
    make = getattr(module, function, None)
    if not callable(make):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise suggest(f"function in {file.name}", function, known)
    try:
        made = make()
    except Exception as error:
        raise _failed(file, f"{function}()", error) from error
    return _sample(made, f"{file.name}:{function}", file.stem)


def _run(file: Path) -> Any:
    """Run a file as a module of its own; it finds the files beside it, as a script does."""
    name = f"subject_{file.stem}"
    found = importlib.util.spec_from_file_location(name, file.resolve())
    assert found is not None and found.loader is not None  # its name ends in .py
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses and pickles look for their module there
    beside = str(file.resolve().parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _failed(file, "the file", error) from error
    return module


def _failed(file: Path, what: str, error: Exception) -> EngramError:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).name == file.name
    ]
    where = f", line {lines[-1]}" if lines else ""
    line = getattr(error, "lineno", None)
    where = f", line {line}" if isinstance(error, SyntaxError) and line else where
    return EngramError(f"{file}{where}: {what} failed with {type(error).__name__}: {first_line(error)}")


def _sample(made: Any, where: str, name: str) -> Sample:
    if isinstance(made, Subject):
        return sample_of(made, name="" if isinstance(made, Sample) else name)
    if isinstance(made, Mapping) and "model" in made:
        options = {"name": name} | dict(made)
        try:
            return sample_of(**options)
        except TypeError as error:
            raise DataError(f"{where} returned a mapping that cannot be used ({error}). {_RETURNS}") from None
    if isinstance(made, tuple) and len(made) in (2, 3) and isinstance(made[0], nn.Module):
        return sample_of(*made, name=name)
    found = f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
    raise DataError(f"{where} returned {found}. {_RETURNS}")
