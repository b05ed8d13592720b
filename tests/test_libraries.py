"""Optional modules: how they are imported, and what is said where they are absent."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from engram_core.errors import DependencyError
from engram_core.libraries import need

ROOT = Path(__file__).parents[1]


def test_what_is_absent_is_named_with_what_installs_it() -> None:
    with pytest.raises(DependencyError, match=r"A picture needs no_such_module.*pip install 'x'"):
        need("no_such_module", "A picture", "pip install 'x'")


@pytest.mark.parametrize("package", ["engram_core", "app"])
def test_no_statement_imports_transformers(package: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "transformers")
        or (isinstance(node, ast.Import) and any(n.name.split(".")[0] == "transformers" for n in node.names))
    ]
    assert not found, "use engram_core.libraries.need, which two threads may call at once"


def test_language_models_that_are_first_opened_at_the_same_moment_all_open() -> None:
    script = """
import threading
from engram_core import load_sample
errors = []
def load(name):
    try:
        load_sample(name)
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=load, args=(name,)) for name in 2 * ("authors-lm", "facts-lm")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
