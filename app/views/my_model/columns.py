"""Which column of a file is what: three rows of it, and a choice for each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from ...figures.words.as_text import Markdown, plain
from ...server.preview import Preview

__all__ = ["choose", "chosen"]

_SEEN = "_own_columns"  # the columns that are chosen among; absent where nothing is to be chosen
_ROWS = "_own_rows"
_TEXTS, _NUMBERS = "Texts for a language model", "Numbers with a label, for a model on features"
_NONE = -1  # no column: their names may be anything, so they are chosen by number


@dataclass(frozen=True)
class _Field:
    title: Markdown
    help: Markdown


_FIELDS = {
    "concept": _Field("Concept", "What each row belongs to: it can be erased as a whole."),
    "prompt": _Field("Prompt", "What the model is asked."),
    "answer": _Field("Answer", "What it should say."),
    "text": _Field("Text", "In place of prompt and answer: a passage that is recorded whole."),
    "split": _Field("Split", "Holds record or probe; rows of probe are only asked. May stay empty."),
}
_LABEL = _Field("Label", "Says the class of each row. The other columns are the features.")


def _key(field: str) -> str:
    return f"_own_column_{field}"


def choose(found: Preview | None) -> str:
    """Let the visitor say which column is what, if the file does not say it itself.

    Args:
        found: the first rows of the file; None if there are none.

    Returns:
        What is still to be chosen, in a sentence; "" if nothing.
    """
    state = st.session_state
    if found is None or found.known == "texts":
        state.pop(_SEEN, None)
        return ""
    if found.known:
        state.pop(_SEEN, None)
        st.caption(plain(f"Read as {found.known}: its fields are known."))
        return ""
    if state.get(_SEEN) != found.columns:
        state[_SEEN] = found.columns
        state[_ROWS] = _NUMBERS if found.is_table else _TEXTS
        guess = found.guess()
        for name in _FIELDS:
            state[_key(name)] = _number(found, guess.get(name))
        state[_key("label")] = _number(found, found.guess_label())
    st.markdown("###### Which column is what?")
    st.caption("The first rows of the file. Its columns have names of their own, so say what they are.")
    st.dataframe(pd.DataFrame(found.rows, columns=list(found.columns)), hide_index=True, width="stretch")
    st.radio("The rows are", (_TEXTS, _NUMBERS), key=_ROWS, persist_state="session")
    if state[_ROWS] == _NUMBERS:
        _column(found, "label", _LABEL)
        return "" if state[_key("label")] != _NONE else "Say which column is the label."
    for place, (name, field) in enumerate(_FIELDS.items()):
        if place % 2 == 0:
            sides = st.columns(2)
        with sides[place % 2]:
            _column(found, name, field)
    return _lacking({name: state[_key(name)] for name in _FIELDS})


def _number(found: Preview, name: str | None) -> int:
    return found.columns.index(name) if name in found.columns else _NONE


def _column(found: Preview, name: str, field: _Field) -> None:
    options = range(_NONE, len(found.columns))
    if st.session_state.get(_key(name)) not in options:
        st.session_state[_key(name)] = _NONE
    st.selectbox(
        field.title, options, format_func=lambda n: found.columns[n] if n >= 0 else "none", key=_key(name),
        persist_state="session", help=field.help,
    )  # fmt: skip


def _lacking(fields: Mapping[str, int]) -> str:
    """Return what is missing or said twice, in a sentence."""
    named = [number for number in fields.values() if number != _NONE]
    if fields["concept"] == _NONE:
        return "Say which column is the concept."
    if len(set(named)) < len(named):
        return "One column is chosen for two fields: choose another for one of them, or none."
    text, pair = fields["text"] != _NONE, (fields["prompt"] != _NONE, fields["answer"] != _NONE)
    if text and any(pair):
        return "Choose a text, or prompt and answer: set the others to none."
    return "" if text or all(pair) else "Say which columns are prompt and answer, or which one is the text."


def chosen() -> dict[str, Any]:
    """Return what was chosen, as `ModelRequest.of` takes it."""
    state = st.session_state
    columns = state.get(_SEEN)
    if not columns:
        return {}
    if state.get(_ROWS) == _NUMBERS:
        number = state.get(_key("label"), _NONE)
        return {"label_column": columns[number]} if number != _NONE else {}
    numbers = {field: state.get(_key(field), _NONE) for field in _FIELDS}
    return {"columns": {field: columns[number] for field, number in numbers.items() if number != _NONE}}
