"""Concept, what flips: its own inputs that are answered differently, and those of whoever suffers most."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ...choice.choice import Choice
from ...choice.picture import Picture
from ...compute.cell_inputs import WRITTEN, class_answers, text_answers
from ...compute.images import pixels
from ...compute.one_concept import others_of
from ...compute.scores import score_edit
from ...figures.panels.contact_sheet import contact_sheet
from ...figures.panels.png import data_uri
from ...figures.words.as_text import plain
from ...figures.words.concept import HOW, say_flips
from ...page import headings, parts, progress
from ...page.snippets import answers_code, inputs_code
from ...server.base import Base

__all__ = ["draw"]

_CARDS = 14
_TELLING = 0.005  # half a point: whoever loses less is not shown


def draw(base: Base, edit: Choice, name: str) -> None:
    """Draw the inputs that are answered differently; see `damage.draw`."""
    headings.heading("What flips", HOW["flips"])
    _of(base, edit, name, name)
    scores = progress.run(score_edit(base, edit), key="flips")
    delta = {other: scores[other] - base.scores[other] for other in others_of(base.facts, name)}
    worst = min(delta, key=lambda other: delta[other], default="")
    if worst and delta[worst] <= -_TELLING:
        _of(base, edit, name, worst)


def _of(base: Base, edit: Choice, erased: str, probed: str) -> None:
    """Draw the inputs of one concept that flip."""
    part = parts.Part("concept", f"Inputs of {probed} that flip", HOW["flips"], base, edit)
    key = "flips" if probed == erased else "flips_elsewhere"
    if base.is_text:
        table = progress.run(text_answers(base, edit, probed), key=probed)
        lost = int((table["base"] & ~table["edited"]).sum())
        gained = int((~table["base"] & table["edited"]).sum())
        words = say_flips(probed, erased, lost, gained, len(table), base.probe)
        part.table(key, table, words=words, code=answers_code(probed, most=WRITTEN))
        return
    table = progress.run(class_answers(base, edit, probed), key=probed)
    lost, gained = (int((table["changed"] == kind).sum()) for kind in ("lost", "gained"))
    words = say_flips(probed, erased, lost, gained, len(table), base.probe)
    code = inputs_code(probed, base.one)
    if not base.of_images:
        part.table(key, table, words=words, code=code)
        return
    shown = table[table["changed"].isin(["lost", "gained"])].head(_CARDS)
    if len(shown) < lost + gained:
        words += f" The first {len(shown)} of them:"
    sheet = contact_sheet(_card(base, probed, row) for _, row in shown.iterrows()) if len(shown) else ""
    st.caption(plain(words))
    if sheet:
        st.html(sheet)
    part.offer(key, parts.Panel(sheet, words, table, code))


def _card(base: Base, probed: str, row: pd.Series) -> tuple[str, tuple[str, str]]:
    number = int(row["image"])
    uri = data_uri(pixels(base, Picture(probed, number)))
    return uri, (f"{probed}, image {number}", f"{row['base']} → {row['edited']}")
