"""What `import engram_core` gives: all that a user needs by name, and no name twice."""

import ast
import inspect
import re
from pathlib import Path

import engram_core as ec
from engram_core import errors

ROOT = Path(__file__).resolve().parents[1]


def test_every_name_is_there_once():
    assert len(ec.__all__) == len(set(ec.__all__))
    for name in ec.__all__:
        assert getattr(ec, name) is not None


def test_every_kind_of_error_can_be_caught_by_its_name():
    kinds = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert kinds <= set(ec.__all__)
    assert all(issubclass(getattr(ec, name), ec.EngramError) for name in kinds)


def test_what_is_called_is_explained():
    for name in ec.__all__:
        value = getattr(ec, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


STEPS = ("Open", "Record", "Extract", "Edit", "Measure", "Tune", "Map", "What can go wrong")


def test_names_stand_by_the_step_at_which_they_are_needed():
    text = Path(ec.__file__).read_text(encoding="utf-8")
    listed = text[text.index("__all__ = [") :]
    groups = re.findall(r"^    # (.+)$", listed, re.MULTILINE)
    assert len(groups) == len(STEPS)
    assert all(group.startswith(step) for group, step in zip(groups, STEPS, strict=True))
    imported = {
        alias.asname or alias.name
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(ec.__all__)


def test_every_name_that_an_example_calls_is_exported():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "app").rglob("*.py")]
    called = {
        name
        for page in pages
        for name in re.findall(r"(?<![\w.])ec\.(\w+)", page.read_text(encoding="utf-8"))
    }
    assert len(called) > 20 and called <= set(ec.__all__) | {"language"}
