"""The picture and the figures of docs/architecture.md, from the imports: `python -m docs.architecture`.

Writes docs/images/architecture.svg and prints the figures; given the folder of another checkout, it only
prints its figures. Imports that only annotations need do not count; imports inside functions do.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from pathlib import Path

import grimp
import networkx as nx

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PACKAGES = ("engram_core", "app")
_CELL = 21
_LABEL = 108


def floors(package: str) -> list[str]:
    """Return the rooms of a package from top to bottom, as pyproject.toml puts them in layers."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    layers = next(
        contract["layers"]
        for contract in tool["importlinter"]["contracts"]
        if contract.get("containers") == [package]
    )
    return [room.strip() for layer in layers for room in layer.replace(":", "|").split("|")]


def imports(folder: Path, package: str) -> grimp.ImportGraph:
    """Return who imports whom below a folder's package."""
    sys.path.insert(0, str(folder))
    try:
        return grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    finally:
        sys.path.remove(str(folder))


def rooms_of(graph: grimp.ImportGraph, package: str) -> nx.DiGraph:
    """Return the rooms of a package, its files and folders, with an arrow from each to what it imports."""
    arrows = nx.DiGraph()
    arrows.add_nodes_from(child.split(".")[1] for child in graph.find_children(package))
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            ends = [name.split(".")[1] for name in (module, other) if "." in name]
            if len(ends) == 2 and ends[0] != ends[1]:
                arrows.add_edge(*ends)
    return arrows


def circles(arrows: nx.DiGraph) -> list[set[str]]:
    """Return the sets of nodes that all import each other, directly or not."""
    return [found for found in nx.strongly_connected_components(arrows) if len(found) > 1]


def figures(folder: Path) -> dict[str, dict[str, str]]:
    """Return the figures of each package: rooms, floors, arrows, circles, files and the longest."""
    found = {}
    for package in PACKAGES:
        graph = imports(folder, package)
        rooms = rooms_of(graph, package)
        files = nx.DiGraph(
            (module, other)
            for module in graph.modules
            for other in graph.find_modules_directly_imported_by(module)
        )
        lengths = {
            path.relative_to(folder / package).as_posix(): len(path.read_text("utf-8").splitlines())
            for path in sorted((folder / package).rglob("*.py"))
        }
        longest = max(lengths, key=lambda name: lengths[name])
        found[package] = {
            "rooms": str(len(rooms)),
            "floors": str(nx.dag_longest_path_length(nx.condensation(rooms)) + 1),
            "arrows between rooms": str(rooms.number_of_edges()),
            "circles of rooms": _sizes(circles(rooms)),
            "circles of files": _sizes(circles(files)),
            "files": str(len(lengths)),
            "longest file": f"{lengths[longest]} lines ({longest})",
            "files above 300 lines": str(sum(length > 300 for length in lengths.values())),
            "names of the face": str(_names(folder / package / "__init__.py")),
        }
    return found


def _sizes(found: list[set[str]]) -> str:
    sizes = ", ".join(str(len(circle)) for circle in sorted(found, key=len, reverse=True))
    return f"{len(found)} (of {sizes})" if found else "0"


def _names(face: Path) -> int:
    for node in ast.parse(face.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return len(ast.literal_eval(node.value))
    return 0


def picture() -> str:
    """Return the SVG: for each package a square of its rooms, marked where the left imports the upper one."""
    parts, left, height = [], 0, 0
    for package in PACKAGES:
        order = floors(package)
        arrows = rooms_of(imports(ROOT, package), package)
        side = len(order) * _CELL
        parts.append(f'<g transform="translate({left} 0)">{_square(package, order, arrows)}</g>')
        left += _LABEL + side + 30
        height = max(height, _LABEL + side + 10)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left} {height}" width="{left}" '
        f'height="{height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{left}" height="{height}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _square(package: str, order: list[str], arrows: nx.DiGraph) -> str:
    lines = [f'<text x="{_LABEL - 6}" y="16" text-anchor="end" font-weight="bold">{package}</text>']
    side = len(order) * _CELL
    for i, room in enumerate(order):
        at = _LABEL + i * _CELL
        middle = at + _CELL / 2
        lines.append(f'<text x="{_LABEL - 6}" y="{middle + 4}" text-anchor="end">{room}</text>')
        lines.append(f'<text transform="translate({middle + 4} {_LABEL - 6}) rotate(-90)">{room}</text>')
        lines.append(f'<rect x="{at}" y="{at}" width="{_CELL}" height="{_CELL}" fill="#d0d7de"/>')
        for j, other in enumerate(order):
            if arrows.has_edge(room, other):
                colour = "#0072B2" if j > i else "#D55E00"
                x, y = _LABEL + j * _CELL + _CELL / 2, middle
                lines.append(f'<circle cx="{x}" cy="{y}" r="5.5" fill="{colour}"/>')
    lines += [
        f'<path d="M{_LABEL} {_LABEL + i * _CELL}h{side}M{_LABEL + i * _CELL} {_LABEL}v{side}" '
        'stroke="#d0d7de" fill="none"/>'
        for i in range(len(order) + 1)
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the picture of this checkout, or only print the figures of another."""
    parser = argparse.ArgumentParser(prog="python -m docs.architecture", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="another checkout: print its figures only")
    folder = parser.parse_args().folder
    if folder is None:
        PICTURE.write_text(picture(), encoding="utf-8")
    for package, rows in figures(folder or ROOT).items():
        print(f"\n{package}")
        for name, value in rows.items():
            print(f"  {name:24}{value}")


if __name__ == "__main__":
    main()
