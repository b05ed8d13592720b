"""The documentation as a site: every page and name is in it, no link is broken, and nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

import engram_core
import engram_core.language
from docs import site

ROOT = Path(__file__).resolve().parents[1]


def test_every_exported_name_is_in_one_group_of_the_reference() -> None:
    for package in (engram_core, engram_core.language):
        named = site.groups(Path(package.__file__ or ""))
        names = [name for members in named.values() for name in members]
        assert sorted(names) == sorted(package.__all__)


def test_it_builds_whole_and_asks_nobody_else(tmp_path: Path) -> None:
    assert site.build(tmp_path) == 0  # a broken link is an error
    pages = {page.stem for page in tmp_path.glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} | {"index", "reference"} <= pages
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    for package in (engram_core, engram_core.language):
        missing = [name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in reference]
        assert not missing, missing
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(https?://[^"]+)', page.read_text("utf-8")
        )
        assert not fetched, (page.name, fetched)
