"""A model that a Python file makes: found, run, and said what is wrong with it, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from engram_core.errors import DataError, EngramError, UnknownNameError
from engram_core.opening.python_file import file_and_function, sample_of_file

HEAD = "import torch\nfrom torch import nn\nimport engram_core as ec\n"
CONCEPTS = "{'a': torch.rand(8, 3), 'b': torch.rand(8, 3)}"


def write(folder: Path, body: str) -> str:
    file = folder / "mine.py"
    file.write_text(f"{HEAD}def make():\n    {body}\n", encoding="utf-8")
    return f"{file}:make"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (f"return nn.Linear(3, 2), {CONCEPTS}", "mine"),
        ("return nn.Linear(3, 2), torch.rand(16, 3), torch.arange(16) % 2", "mine"),
        (f"return {{'model': nn.Linear(3, 2), 'concepts': {CONCEPTS}, 'name': 'theirs'}}", "theirs"),
        ("s = ec.load_sample('digits-mlp'); return ec.Subject(s.model, s.concepts, s.task)", "mine"),
        ("return ec.load_sample('digits-mlp')", "digits-mlp (in memory)"),
    ],
)
def test_what_a_function_may_return(tmp_path: Path, body: str, name: str) -> None:
    sample = sample_of_file(write(tmp_path, body))
    assert sample.name == name and len(sample.concepts) >= 2


def test_a_file_finds_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_mine.py").write_text("WIDTH = 3\n", encoding="utf-8")
    body = f"from beside_mine import WIDTH; return nn.Linear(WIDTH, 2), {CONCEPTS}"
    assert sample_of_file(write(tmp_path, body)).model.in_features == 3


def test_what_fails_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(EngramError, match=r"mine\.py, line 5: make\(\) failed with ZeroDivisionError"):
        sample_of_file(write(tmp_path, "1 / 0"))
    (tmp_path / "mine.py").write_text("def make(:\n", encoding="utf-8")
    with pytest.raises(EngramError, match=r"mine\.py, line 1: the file failed with SyntaxError"):
        sample_of_file(f"{tmp_path}/mine.py:make")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "returned int. It must return a Subject"),
        ("return 1, 2, 3, 4", "returned a tuple of 4"),
        (f"return {{'model': nn.Linear(3, 2), 'konzepte': {CONCEPTS}}}", "cannot be used .*konzepte"),
    ],
)
def test_what_it_returns_instead_is_said(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        sample_of_file(write(tmp_path, body))


def test_names_are_checked_before_anything_is_run(tmp_path: Path) -> None:
    given = write(tmp_path, "return 3")
    assert file_and_function(given) == (tmp_path / "mine.py", "make")
    with pytest.raises(UnknownNameError, match="make"):
        sample_of_file(given.replace(":make", ":mkae"))
    for wrong in ("mine.py", "mine.txt:make", f"{tmp_path}/mine.py:not a name"):
        with pytest.raises(DataError, match="names no function of a Python file"):
            file_and_function(wrong)
    with pytest.raises(DataError, match="There is no file"):
        file_and_function("nowhere.py:make")
