"""The names of the pages, as addresses say them."""

from __future__ import annotations

__all__ = ["FIRST_PAGE", "PAGES", "path_of"]

PAGES = ("start", "live", "concept", "criteria", "strength", "map", "layers", "learn", "model")
"""In the order of the menu."""

FIRST_PAGE = "start"
"""The page of the bare address."""


def path_of(page: str) -> str:
    """Return the path of a page in the address: its name, and nothing for the first."""
    return "" if page == FIRST_PAGE else page
