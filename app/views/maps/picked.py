"""The inputs that were picked on a map, and the way from there to Live."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ...choice.picture import Picture
from ...compute.images import pixels
from ...compute.maps import Measured
from ...figures.panels.png import data_uri
from ...figures.words.as_text import plain
from ...page import parts
from ..shared.to_live import send_to_live
from .roles import picked_of

__all__ = ["draw"]

_CARDS = 12


def draw(part: parts.Part, measured: Measured, event: Any, *, numbers: pd.DataFrame, code: str) -> None:
    """Draw the inputs that were picked, with the way to Live.

    Args:
        part: what the map is called, with its model and edit.
        measured: the inputs on the map.
        event: what the map's widget returned.
        numbers: one row per input on the map.
        code: Python that gives `numbers` as `table`.
    """
    base, choice = part.base, part.choice
    picked = list(picked_of(event, measured.inputs.concept))
    if not picked:
        st.markdown("##### Inputs of the selected points")
        st.caption(
            "Click a point, or take the lasso at the top right of the figure and draw it around several: the "
            "inputs appear here, and go to Live from here."
        )
        return
    st.markdown(f"##### {len(picked)} inputs selected")
    st.caption(plain(_summary(measured, picked)))
    shown = _varied(measured, picked)[:_CARDS]
    if len(picked) > _CARDS:
        st.caption(f"{_CARDS} of them, changed answers first:")
    inputs = measured.inputs
    names = {
        i: f"{inputs.concept[i]}, {base.one} {inputs.number[i]}"
        + (f": {inputs.text[i]}" if base.is_text else "")
        for i in shown
    }
    cards = ""
    if base.of_images:
        uris = {i: data_uri(pixels(base, Picture(inputs.concept[i], inputs.number[i]))) for i in shown}
        # Straight from numbers and PNG data; names are escaped.
        cards = "".join(
            f'<figure style="margin:0;text-align:center;font-size:.75rem">'
            f'<img src="{uris[i]}" alt="{html.escape(names[i])}" width="56" height="56" '
            f'style="image-rendering:pixelated"><figcaption>{html.escape(names[i])}<br>'
            f"→ {html.escape(measured.edited.answers[i])}</figcaption></figure>"
            for i in shown
        )
        cards = f'<div style="display:flex;flex-wrap:wrap;gap:.6rem">{cards}</div>'
        st.html(cards)
    chosen: Any = st.selectbox("Input", shown, format_func=lambda i: names.get(i, ""), key="_map_input")
    if not base.of_images and chosen in shown:
        if inputs.text[chosen]:
            st.markdown(f"> {plain(inputs.text[chosen])}")
        st.caption(plain(f"base {measured.base.answers[chosen]} → edited {measured.edited.answers[chosen]}"))
    if st.button("Open in Live", key="_map_live", type="primary", width="stretch") and chosen in shown:
        if base.is_text:
            send_to_live(choice, prompt=_prompt(measured, chosen), about=inputs.concept[chosen])
        send_to_live(choice, **{"class": inputs.concept[chosen], "image": inputs.number[chosen], "drawn": ""})
    taken = parts.Panel(
        cards, f"Selected on the map: {len(picked)} inputs.", numbers.iloc[picked],
        f"{code}\ntable = table.iloc[{picked!r}]",
    )  # fmt: skip
    parts.Part(part.page, f"{part.text}: selected inputs", part.how, base, choice).offer("picked", taken)


def _varied(measured: Measured, picked: Sequence[int]) -> list[int]:
    """Return the points with changed answers first, and each concept's in turn."""
    seen: dict[str, int] = {}
    turn = {}
    for i in picked:
        name = measured.inputs.concept[i]
        turn[i] = seen[name] = seen.get(name, -1) + 1
    return sorted(picked, key=lambda i: (measured.base.answers[i] == measured.edited.answers[i], turn[i]))


def _prompt(measured: Measured, point: int) -> str:
    record: Any = measured.inputs.concepts[measured.inputs.concept[point]].record
    item = record[measured.inputs.number[point] - 1]
    return item.prompt or item.text


def _summary(measured: Measured, picked: Sequence[int]) -> str:
    names = [measured.inputs.concept[i] for i in picked]
    order = sorted(dict.fromkeys(names), key=lambda name: -names.count(name))
    text = ", ".join(f"{name}: {names.count(name)}" for name in order[:6])
    changed = sum(measured.base.answers[i] != measured.edited.answers[i] for i in picked)
    return text + ("…" if len(order) > 6 else "") + (f" · {changed} answers change" if changed else "")
