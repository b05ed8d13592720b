"""A part of a page: its figures and tables, each with its words and its download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ..choice.choice import Choice
from ..figures.charts.highlight import highlighted
from ..figures.charts.presenting import enlarged
from ..figures.words.as_text import Markdown
from ..figures.words.live import describe_edit
from ..server.base import Base
from ..session.selection import selected_concept
from .downloads import offer_download
from .headings import explain, heading, note
from .report import Item
from .share import address
from .snippets import edit_code
from .tables import column_config

__all__ = ["CHART", "Panel", "Part", "on_screen", "part", "settings_of"]

CHART: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "svg", "filename": "engram-explorer"},
}
"""Plotly's settings for figures without a selection."""


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
    """Return a figure as it is drawn: the selected concept outlined, and larger in presenter mode."""
    chart = highlighted(chart, selected_concept())
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
            note(words)
            if names:
                st.caption(names)
            offer_download(self._item(words, code, numbers, figure=chart, html=html), key)
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
            st.dataframe(numbers, hide_index=True, width="stretch", column_config=column_config(numbers))
        note(words)
        if names:
            st.caption(names)
        offer_download(self._item(words, code, numbers, html=html), key)

    def below(self, key: str, panel: Panel, *, label: Markdown = "How to read this") -> None:
        """Draw one row below a panel that stands on the page: how to read it, and its export."""
        with st.container(horizontal=True, gap="medium", width="content"):
            explain(self.how, f"how_{key}", label=label)
            self.offer(key, panel)

    def offer(self, key: str, panel: Panel) -> None:
        """Offer what stands on the page to be taken away; see `figure`."""
        offer_download(self._item(panel.words, panel.code, panel.numbers, html=panel.html), key)

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
