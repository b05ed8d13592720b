"""Draw functions at random, to try whether they are found: `python -m docs.draw SEED [--where]`.

Prints what 12 public functions and methods do, in the words of their docstrings; of a method, also what its
class is. Guess the file of each from
the tree of file names alone (`git ls-files engram_core app`), then look with `--where`.
"""

from __future__ import annotations

import argparse
import ast
import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
_COUNT = 12


def functions(root: Path = ROOT) -> list[tuple[str, str, str]]:
    """Return file, name and purpose of every public function and method that says what it does, in order."""
    found = []
    for package in ("engram_core", "app"):
        for path in sorted((root / package).rglob("*.py")):
            where = path.relative_to(root).as_posix()
            for name, purpose in _public(ast.parse(path.read_text(encoding="utf-8"))):
                found.append((where, name, purpose))
    return found


def _public(parent: ast.Module | ast.ClassDef, stem: str = "", kind: str = "") -> Iterator[tuple[str, str]]:
    for node in parent.body:
        if getattr(node, "name", "_").startswith("_"):
            continue
        if isinstance(node, ast.FunctionDef):
            if said := (ast.get_docstring(node) or "").partition("\n")[0]:
                yield stem + node.name, said + kind
        elif isinstance(node, ast.ClassDef):
            said = (ast.get_docstring(node) or "").partition("\n")[0]
            yield from _public(node, f"{node.name}.", f" (Of: {said})")


def drawn(seed: int, root: Path = ROOT) -> list[tuple[str, str, str]]:
    """Return what a seed draws."""
    return random.Random(seed).sample(functions(root), _COUNT)


def main() -> None:
    """Print what is drawn."""
    parser = argparse.ArgumentParser(prog="python -m docs.draw", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--where", action="store_true", help="say where they are, too")
    options = parser.parse_args()
    for number, (where, name, purpose) in enumerate(drawn(options.seed), start=1):
        print(f"{number:2}. {purpose}" + (f"\n    {where}: {name}" if options.where else ""))


if __name__ == "__main__":
    main()
