"""The frame every page stands in: title, share menu, headings with explanations, and take-away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qs

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ..choice.address import SessionFileError, from_file, to_file, to_query
from ..choice.choice import Choice
from ..figures.charts.presenting import enlarged
from ..figures.words.as_text import Markdown, plain
from ..figures.words.live import describe_edit
from ..options import server_options
from ..server.base import Base
from ..session import arrival, state, written_address
from .columns import columns_of
from .progress import Bar, Stopped, run
from .report import Item, figure_page, report_page
from .snippets import edit_code

__all__ = [
    "CHART",
    "PAGES",
    "Bar",
    "Panel",
    "Part",
    "Stopped",
    "heading",
    "on_screen",
    "part",
    "run",
    "settings_of",
    "title",
]

PAGES: dict[str, str] = {}
"""Path in the address of every page by its name; `main` fills it. The first page's path is empty."""

CHART: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "svg", "filename": "engram-explorer"},
}
"""Plotly's settings for figures without a selection."""

_ITEMS = "_items"
_MOST_ITEMS = 24


def title(text: str, sentence: str, *, page: str) -> None:
    """Draw the page's title with what it is for, and the share menu."""
    written_address.write_address()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"#### {plain(text)}", width="content")
        _share(page)
    _note(sentence)


def address() -> dict[str, list[str]]:
    """Return the keys and texts of the address of the present view."""
    return parse_qs(to_query(state.values()), keep_blank_values=True)


def _link(page: str) -> str:
    origin = (st.context.url or "").split("?")[0].rstrip("/")
    for path in PAGES.values():
        origin = origin.removesuffix(f"/{path}") if path else origin
    # By name and not by path: opened at a path, Streamlit first looks for its server below that path, and
    # the browser's console notes that as an error.
    return f"{origin}/?" + "&".join(part for part in (f"page={page}", to_query(state.values())) if part)


def _share(page: str) -> None:
    with st.popover("Share", icon=":material/ios_share:", type="tertiary", key="share"):
        link = _link(page)
        st.markdown(
            "**Link to this view.** Whoever opens it on this server sees what you see. To copy it, press the "
            ":material/content_copy: at the right end of the line."
        )
        st.code(link, language=None, wrap_lines=True)
        st.markdown("**Session file.** The same as a small JSON file, to keep and to open again.")
        st.download_button(
            "Save the session", to_file(page, address()), "engram-session.json", "application/json",
            on_click="ignore", width="stretch", key="save_session",
        )  # fmt: skip
        if not server_options().demo:
            _open_session()
        st.markdown(
            "**Report.** Every figure you have looked at, with its numbers, as one offline HTML file."
        )
        items: dict[Any, Item] = st.session_state.setdefault(_ITEMS, {})
        st.download_button(
            "Report",
            # Made when asked for: this menu is drawn before the figures below it.
            lambda: report_page(list(items.values()), title="Engram Explorer: report", link=link),
            "engram-report.html",
            "text/html",
            on_click="ignore",
            width="stretch",
            key="save_report",
        )


def _open_session() -> None:
    file = st.file_uploader("Open a session file", type=["json"], key="_session_file", max_upload_size=1)
    if file is None or st.session_state.get("_opened") == file.file_id:
        return
    try:
        page, texts = from_file(file.getvalue(), PAGES)
    except SessionFileError as error:
        st.warning(plain(error))
        return
    st.session_state["_opened"] = file.file_id
    arrival.open_address(page, texts)


def heading(text: str, how: Markdown) -> None:
    """Draw a heading with its explanation behind a button.

    Args:
        text: the heading.
        how: how to read what follows (Markdown).
    """
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"##### {plain(text)}", width="content")
        _explain(how)


def _explain(how: Markdown, key: str | None = None) -> None:
    with st.popover("How to read this", type="tertiary", key=key):
        st.markdown(how)


def _note(text: str) -> None:
    """Draw a line in small type, if there is anything to say."""
    if text:
        st.caption(plain(text))


def settings_of(base: Base, choice: Choice, page: str) -> dict[str, Any]:
    """Return everything that determines what a page shows, as data."""
    return {
        "model": base.facts.name,
        "model_sha256": base.digest,
        "page": page,
        "edit": {
            "mode": choice.mode,
            "strengths": choice.strengths,
            "null": choice.null if choice.keeps else None,
            "strength": choice.strength,
            "scaling": choice.scaling,
            "power": choice.power,
            "clip": choice.clip,
            "layers": list(choice.layers),
        },
        "address": address(),
        "engram_explorer": version("engram-explorer"),
    }


def on_screen(chart: go.Figure) -> go.Figure:
    """Return a figure as it is drawn: larger in presenter mode."""
    return enlarged(chart) if st.session_state.get("present") is True else chart


@dataclass(frozen=True)
class Panel:
    """What stands largest on a page: a picture that is HTML, and what it shows.

    Attributes:
        html: the picture, escaped by whoever made it.
        words: what it shows, in a sentence.
        numbers: what it is made of, tidy.
        code: Python that gives `numbers`, after the lines that make `atlas` and `edited`.
    """

    html: str
    words: str
    numbers: pd.DataFrame
    code: str


@dataclass(frozen=True)
class Part:
    """A part of a page: what its figures and tables are called, and the setting they belong to.

    Attributes:
        page: page it stands on.
        text: its heading.
        how: how to read it (Markdown).
        base: the model.
        choice: the edit.
        more: what else the figures depend on, as data.
    """

    page: str
    text: str
    how: Markdown
    base: Base
    choice: Choice
    more: Mapping[str, Any] = field(default_factory=dict)

    def figure(
        self,
        key: str,
        chart: go.Figure,
        /,
        *,
        words: str,
        numbers: pd.DataFrame,
        code: str = "",
        names: Markdown = "",
        html: str = "",
        place: Any = None,
        **options: Any,
    ) -> Any:
        """Draw a Plotly figure with its words, and offer it to be taken away.

        Args:
            key: name of the figure, for files and the report.
            chart: the figure.
            words: what it shows, in a sentence: caption and text alternative.
            numbers: the figure's numbers, tidy.
            code: Python that gives `numbers`, after the lines that make `atlas` and `edited`.
            names: what names in it mean, in a sentence (Markdown).
            html: what stands above it on the page already, to be taken away with it.
            place: container to draw in.
            options: for `st.plotly_chart` (`on_select`, `key`, …).

        Returns:
            What `st.plotly_chart` returns.
        """
        with place if place is not None else st.container():
            config = CHART if "on_select" not in options else {"displaylogo": False}
            event = st.plotly_chart(on_screen(chart), **({"config": config} | options), alt=words)
            _note(words)
            if names:
                st.caption(names)
            _offer(self._item(words, code, numbers, figure=chart, html=html), key)
        return event

    def table(
        self,
        key: str,
        numbers: pd.DataFrame,
        *,
        words: str,
        code: str = "",
        names: Markdown = "",
        html: str = "",
    ) -> None:
        """Draw a table (or the picture of it in `html`) and offer it to be taken away; see `figure`."""
        if html:
            st.html(html)
        else:
            st.dataframe(numbers, hide_index=True, width="stretch", column_config=columns_of(numbers))
        _note(words)
        if names:
            st.caption(names)
        _offer(self._item(words, code, numbers, html=html), key)

    def below(self, key: str, panel: Panel) -> None:
        """Draw one row below a panel that stands on the page: how to read it, and its take-away."""
        with st.container(horizontal=True, gap="medium"):
            _explain(self.how, f"how_{key}")
            self.offer(key, panel)

    def offer(self, key: str, panel: Panel) -> None:
        """Offer what stands on the page to be taken away; see `figure`."""
        _offer(self._item(panel.words, panel.code, panel.numbers, html=panel.html), key)

    def _item(self, words: str, code: str, numbers: pd.DataFrame, **picture: Any) -> Item:
        base, choice = self.base, self.choice
        return Item(
            page=self.page,
            title=self.text,
            how=self.how,
            words=words,
            setting=f"{base.facts.name} ({base.digest[:12]}): {describe_edit(choice)}",
            settings=settings_of(base, choice, self.page) | dict(self.more),
            code=edit_code(base.load_code, choice, base.facts.classes) + (f"\n{code}" if code else ""),
            table=numbers,
            **picture,
        )


def part(page: str, text: str, how: Markdown, base: Base, choice: Choice) -> Part:
    """Draw the heading of a part of a page; what the part returned draws goes by that name."""
    heading(text, how)
    return Part(page, text, how, base, choice)


def _offer(item: Item, key: str) -> None:
    items: dict[Any, Item] = st.session_state.setdefault(_ITEMS, {})
    items.pop((item.page, key), None)
    items[item.page, key] = item
    while len(items) > _MOST_ITEMS:
        items.pop(next(iter(items)))
    name = f"engram-{item.settings['model']}-{key}"
    with st.popover("Take away", icon=":material/download:", type="tertiary", key=f"take_{key}"):
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
