"""A report of one session: a single HTML file that works without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markdown_it import MarkdownIt
from plotly.offline import get_plotlyjs

from .style import PANELS

__all__ = ["Item", "figure_page", "report_page"]

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem;
  color: #1b2430; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.2rem; margin-top: 2.4rem; border-top: 1px solid #ccd; padding-top: 1rem; }
table { border-collapse: collapse; font-size: .85rem; }
td, th { padding: .2rem .6rem; border-bottom: 1px solid #dde; text-align: right; }
td:first-child, th:first-child { text-align: left; }
.scroll, pre { overflow-x: auto; }
.how { color: #47536a; font-size: .92rem; }
.setting { font-size: .9rem; background: #eef2f8; padding: .4rem .7rem; border-radius: 6px; }
pre { background: #f4f6fa; padding: .8rem; font-size: .85rem; }
"""
_ROWS = 400  # rows of a table in a report; the CSV beside the figure has them all
# Of pictures it would make addresses that a browser asks for, and the file must work without a network.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")


@dataclass(frozen=True)
class Item:
    """One figure or table as it stood on the screen.

    Attributes:
        page: page it stood on.
        title: its heading.
        how: how to read it (Markdown).
        words: what it shows, in a sentence.
        setting: model and edit, in a phrase.
        settings: the same as data.
        code: Python that reproduces it.
        table: its numbers.
        figure: its picture, if it has one.
        html: a picture that is HTML, or what stands above the figure, escaped by whoever made it.
    """

    page: str
    title: str
    how: str
    words: str
    setting: str
    settings: Mapping[str, Any]
    code: str
    table: pd.DataFrame | None = None
    figure: go.Figure | None = None
    html: str = ""


def _figure(figure: go.Figure) -> str:
    light = go.Figure(figure).update_layout(template="plotly_white")
    return light.to_html(include_plotlyjs=False, full_html=False, config={"displaylogo": False})


def _section(item: Item) -> str:
    parts = [
        f"<h2>{escape(item.page)}: {escape(item.title)}</h2>",
        f'<p class="setting">{escape(item.setting)}</p>',
    ]
    if item.html:
        parts.append(item.html)
    if item.figure is not None:
        parts.append(_figure(item.figure))
    if item.words:
        parts.append(f"<p>{escape(item.words)}</p>")
    parts.append(f'<div class="how">{_MARKDOWN.render(item.how)}</div>')
    if item.table is not None:
        shown = item.table.head(_ROWS)
        note = (
            f"<p>{len(item.table):,} rows; the first {_ROWS} are shown.</p>"
            if len(item.table) > _ROWS
            else ""
        )
        table = shown.to_html(index=False, border=0, float_format=lambda x: f"{x:.4g}", na_rep="–")
        parts.append(
            f'<details><summary>The numbers</summary>{note}<div class="scroll">{table}</div></details>'
        )
    parts.append(
        f"<details><summary>Settings and Python</summary><pre>{escape(_json(item.settings))}</pre>"
        f"<pre>{escape(item.code)}</pre></details>"
    )
    return "\n".join(parts)


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=2, ensure_ascii=False, default=str)


def _page(title: str, body: str) -> str:
    # Plotly's script goes in whole: the file must work from a stick in a room without a network.
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}\n{PANELS}</style><script>{get_plotlyjs()}</script></head><body>{body}</body></html>"
    )


def figure_page(item: Item) -> str:
    """Return one figure with its words, numbers, settings and code as an HTML file."""
    return _page(item.title, f"<h1>{escape(item.title)}</h1>{_section(item)}")


def report_page(items: Sequence[Item], *, title: str, link: str) -> str:
    """Return everything a visitor has looked at as an HTML file.

    Args:
        items: figures and tables, in the order they were first seen.
        title: heading.
        link: address of the view the report was asked from.
    """
    head = (
        f"<h1>{escape(title)}</h1><p>Made with Engram Explorer. Every figure stands with the setting it was "
        "drawn for; the numbers and the Python that gives them again fold out below it. The view: "
        f"<code>{escape(link)}</code></p>"
    )
    return _page(title, head + "\n".join(_section(item) for item in items))
