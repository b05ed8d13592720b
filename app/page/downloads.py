"""What a visitor has looked at, and the menu that offers it as files."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from .report import Item, figure_page

__all__ = ["offer_download", "offered_items"]

_ITEMS = "_items"
_MOST_ITEMS = 24


def offered_items() -> dict[Any, Item]:
    """Return the figures and tables of this visit by page and name, the one looked at last at the end."""
    items: dict[Any, Item] = st.session_state.setdefault(_ITEMS, {})
    return items


def offer_download(item: Item, key: str) -> None:
    """Draw the menu of one figure or table, and note it for the report.

    Args:
        item: the figure or table.
        key: its name on its page.
    """
    items = offered_items()
    items.pop((item.page, key), None)
    items[item.page, key] = item
    while len(items) > _MOST_ITEMS:
        items.pop(next(iter(items)))
    name = f"engram-{item.settings['model']}-{key}"
    with st.popover("Export", icon=":material/download:", type="tertiary", key=f"take_{key}"):
        st.caption("The numbers, the picture, the settings, and Python that gives the numbers again.")
        options: dict[str, Any] = {"on_click": "ignore", "width": "stretch"}
        if item.table is not None:
            numbers = item.table
            st.download_button(
                "CSV",
                lambda: numbers.to_csv(index=False),
                f"{name}.csv",
                "text/csv",
                key=f"csv_{key}",
                **options,
            )
        st.download_button(
            "HTML", lambda: figure_page(item), f"{name}.html", "text/html", key=f"html_{key}", **options
        )
        st.download_button(
            "Settings (JSON)",
            json.dumps(item.settings, indent=2, ensure_ascii=False, default=str),
            f"{name}.json",
            "application/json",
            key=f"json_{key}",
            **options,
        )
        st.markdown("**Python**")
        st.code(item.code, language="python", wrap_lines=True)
