"""The documentation as a site that works without a network: `make site`, or `python -m docs.site [FOLDER]`.

README is its first page, the pages of docs/ are the others, and the reference is read from the docstrings of
what `engram_core` and `engram_core.language` export, in the groups in which they list it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = {
    "Begin": {
        "Engram Explorer": "index.md", "Install it": "install.md", "The explorer": "explorer.md",
        "Your own model": "your-model.md", "Bring anything": "own-models.md",
    },
    "Understand": {
        "The science": "science.md", "The four criteria": "criteria.md", "Finding the strength": "sweep.md",
        "Fine-tunes": "fine-tunes.md",
        "One concept": "concept.md", "Layers": "layers.md", "Maps": "map.md",
        "Where the memory sits": "where-it-sits.md",
        "Numerics": "numerics.md", "Exercises": "exercises.md",
    },
    "Language": {"Language models": "language.md", "SmolLM2": "smollm2.md"},
    "Rely on it": {
        "What is promised of a model": "promises.md",
        "The same as Hugging Face": "same-as-hugging-face.md", "In a stranger's hands": "security.md",
        "Files and data": "files.md",
    },
    "Work on it": {
        "Where everything is": "architecture.md", "Are functions found?": "house-proof.md",
        "Mutants": "mutants.md",
    },
    "Measured": {
        "Speed": "benchmarks.md", "Speed on language models": "benchmarks-language.md",
        "Under load": "load.md",
    },
}  # fmt: skip
"""The menu; every page of docs/ that is not here stands under "More"."""

_REFERENCE = "reference.md"
# The theme fetches one script, for a search in pages that were opened from a folder.
_ELSEWHERE = re.compile(r'<script src="https?://[^"]*"></script>')
_GROUP = re.compile(r"^\s*# (?P<title>.+)$")


def groups(face: Path) -> dict[str, list[str]]:
    """Return the exported names of a package by the comments above them in its `__all__`."""
    text = face.read_text(encoding="utf-8")
    node = next(
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    named: dict[str, list[str]] = {}
    title = "All"
    for line in text.splitlines()[node.lineno - 1 : node.end_lineno]:
        heading = _GROUP.match(line)
        if heading:
            title = heading["title"]
        named.setdefault(title, []).extend(re.findall(r'"(\w+)"', line))
    return {title: names for title, names in named.items() if names}


def reference() -> str:
    """Return the page of the reference: one entry per exported name."""
    lines = ["# Reference", "", "Made from the docstrings.", ""]
    for package in ("engram_core", "engram_core.language"):
        lines += [f"## `{package}`", ""]
        for title, names in groups(ROOT.joinpath(*package.split("."), "__init__.py")).items():
            if title != "All":
                lines += [f"### {title}", ""]
            level = 3 if title == "All" else 4
            for name in names:
                lines += [f"::: {package}.{name}", "    options:", f"      heading_level: {level}", ""]
    return "\n".join(lines)


def write_sources(folder: Path) -> None:
    """Put the pages where the site's builder finds them, README among them, with links that fit."""
    shutil.copytree(ROOT / "docs" / "images", folder / "images")
    # Notebooks are no pages here; they are handed out as files.
    for page in sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.ipynb")]):
        shutil.copy(page, folder / page.name)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (folder / "index.md").write_text(readme.replace("](docs/", "]("), encoding="utf-8")
    (folder / _REFERENCE).write_text(reference(), encoding="utf-8")


def settings(sources: Path, site: Path) -> dict:
    """Return the settings of MkDocs; without fonts or scripts from elsewhere."""
    listed = {file for pages in PAGES.values() for file in pages.values()} | {_REFERENCE}
    more = sorted({page.name for page in sources.glob("*.md")} - listed)
    menu: list[dict] = [
        {part: [{title: file} for title, file in pages.items()]} for part, pages in PAGES.items()
    ]
    menu += [{"Reference": _REFERENCE}] + ([{"More": more}] if more else [])
    return {
        "site_name": "Engram Explorer",
        "docs_dir": str(sources),
        "site_dir": str(site),
        "use_directory_urls": False,  # so that it opens from a folder, too
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.sections", "navigation.top", "content.code.copy"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "blue"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "blue"},
            ],
        },
        "extra": {"generator": False},
        "plugins": [
            "search",
            "offline",
            {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)], "options": {
                "docstring_style": "google", "show_source": False, "show_root_heading": True,
                "show_signature_annotations": True, "members_order": "source", "filters": ["!^_"],
            }}}}},
        ],
        "markdown_extensions": ["tables", "fenced_code", "admonition", {"toc": {"permalink": True}}],
        "nav": menu,
        # A link that leads nowhere ends the build.
        "validation": {"links": {"not_found": "warn", "anchors": "warn", "unrecognized_links": "warn"}},
    }  # fmt: skip


def build(site: Path) -> int:
    """Build the site into a folder; return the builder's exit status."""
    with tempfile.TemporaryDirectory() as place:
        sources = Path(place, "sources")
        sources.mkdir()
        write_sources(sources)
        config = Path(place, "mkdocs.yml")
        config.write_text(json.dumps(settings(sources, site)), encoding="utf-8")  # JSON is YAML
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(config)]
        environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        status = subprocess.run(command, check=False, env=environment).returncode
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(_ELSEWHERE.sub("", text), encoding="utf-8")
    return status


def main() -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description="Build the documentation.")
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "site")
    options = parser.parse_args()
    status = build(options.folder.resolve())
    if status == 0:
        print(f"{options.folder / 'index.html'} opens in a browser; no network is needed.")
    sys.exit(status)


if __name__ == "__main__":
    main()
