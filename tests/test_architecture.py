"""The house as drawn and as its rules say: the picture follows the imports, and nothing goes around them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import architecture, draw

ROOT = Path(__file__).resolve().parents[1]


def test_the_picture_shows_the_imports_of_today() -> None:
    """If this fails, run `python -m docs.architecture` and look at what it draws."""
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.picture()


def test_no_two_rooms_or_files_import_each_other() -> None:
    for package in architecture.PACKAGES:
        arrows = architecture.rooms_of(architecture.imports(ROOT, package), package)
        assert len(arrows) > 10 and not architecture.circles(arrows)
        order = architecture.floors(package)
        assert set(order) == set(arrows), "a room without a floor"
        assert all(order.index(upper) < order.index(lower) for upper, lower in arrows.edges)


def test_the_core_does_not_import_its_own_face() -> None:
    """The face imports everything, so whoever imports it imports what stands above."""
    graph = architecture.imports(ROOT, "engram_core")
    assert not [name for name in graph.find_modules_that_directly_import("engram_core") if "." in name]


def test_the_page_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)/?`", page))
    for package in architecture.PACKAGES:
        assert set(architecture.floors(package)) <= named


def test_every_path_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:app|engram_core|tests|docs|sample_models|benchmarks)/[\w./-]*)`", page)
    assert len(paths) > 15
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_no_room_is_imported_by_a_string() -> None:
    """`import_module` is for libraries, and for what a limited process is told to run."""
    known = {"engram_core/libraries.py", "engram_core/sandboxing/worker.py"}
    found = {
        path.relative_to(ROOT).as_posix()
        for package in architecture.PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\b(import_module|__import__|run_module)\b", path.read_text(encoding="utf-8"))
    }
    assert found == known


def test_the_core_does_not_name_the_app() -> None:
    """Neither as a module nor in a string: what it borrows, it finds by entry points."""
    named = re.compile(r"\bapp\.(?:launch|entry|main|figures|compute|server|views)\b|engram_explorer\.\w")
    for path in (ROOT / "engram_core").rglob("*.py"):
        assert not named.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("package", ["engram_core", "engram_core.language"])
def test_no_exported_name_is_a_module_s(package: str) -> None:
    """Or importing that module would put it, or take from it, what is exported."""
    folder = ROOT.joinpath(*package.split("."))
    modules = {
        path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    names = exported(folder / "__init__.py")
    assert names and not names & modules


def exported(face: Path) -> set[str]:
    """Return the names in a package's `__all__`."""
    (node,) = (
        node
        for node in ast.parse(face.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    return set(ast.literal_eval(node.value))


def test_packages_hold_a_sentence_and_no_code() -> None:
    faces = {"engram_core/__init__.py", "engram_core/language/__init__.py"}
    for package in architecture.PACKAGES:
        for path in (ROOT / package).rglob("__init__.py"):
            if path.relative_to(ROOT).as_posix() not in faces:
                (node,) = ast.parse(path.read_text(encoding="utf-8")).body
                assert isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant), path


@pytest.mark.parametrize("package", architecture.PACKAGES)
def test_no_file_is_longer_than_300_lines(package: str) -> None:
    """Split it by idea: `python -m docs.architecture` prints the longest."""
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / package).rglob("*.py")}
    assert len(lengths) > 100 and not {path: length for path, length in lengths.items() if length > 300}


def test_importing_the_core_changes_nothing(tmp_path: Path) -> None:
    """No thread, variable, file, or setting of torch and numpy; and neither a screen nor transformers."""
    script = """
import os, pathlib, random, sys, threading, warnings
import numpy, pandas, rich, safetensors, sklearn, threadpoolctl, torch, typer

def state():
    return {
        "environment": dict(os.environ), "threads": threading.active_count(),
        "torch threads": torch.get_num_threads(), "precision": torch.get_float32_matmul_precision(),
        "dtype": torch.get_default_dtype(), "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch seed": torch.initial_seed(), "python seed": random.getstate(),
        "numpy seed": str(numpy.random.get_state()), "numpy errors": numpy.geterr(),
        "pools": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
        "files": sorted(map(str, pathlib.Path.home().rglob("*"))), "path": list(sys.path),
        "hooks": (sys.excepthook, threading.excepthook), "filters": list(warnings.filters),
    }

before = state()
import engram_core, engram_core.language
after = state()
changed = [name for name in before if before[name] != after[name]]
assert not changed, changed
heavy = {"transformers", "tokenizers", "streamlit", "plotly", "umap", "numba"} & sys.modules.keys()
assert not heavy, heavy
"""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_a_seed_draws_the_same_functions_again_and_they_are_where_it_says() -> None:
    known = draw.functions()
    assert len(known) > 500 and draw.drawn(3) == draw.drawn(3) != draw.drawn(4)
    assert set(draw.drawn(3)) <= set(known) and all((ROOT / where).exists() for where, _, _ in known)


def test_no_page_s_docstring_is_that_of_another_page() -> None:
    """ "Draw the page" says nothing to who does not see the file's name."""
    said = [purpose for where, _, purpose in draw.functions() if where.startswith("app/views/")]
    assert len(said) > 50 and not [purpose for purpose in said if said.count(purpose) > 1]
