"""My model: a check-up of one's own model and concepts, then the same pages as for the samples."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError

from .. import frame, session
from ..adapter.own import Checking, Opened, Wanted, upload
from ..columns import columns_of
from ..figures.hero import stats
from ..started import started

__all__ = ["page"]

_KEY = "_checking"

_FORMATS = """
**Model.** A folder on the machine that runs this server, or a hub name such as `org/model`: a causal language
model, an image classifier of transformers, or a plain `state_dict` in safetensors of a listed architecture.
Weights must be safetensors: pickled ones are refused, as reading them can run code. A sample's name (such
as `authors-lm`) works too: the sample with concepts of your own.

**Concepts for a language model.** JSONL or CSV, UTF-8, with the columns `concept`, `prompt`, `answer` (or
`concept`, `text`), and optionally `split`: `record`, or `probe` for questions that are only asked. Rows of
the concept `(background)` protect what they say without being a concept.

**Concepts for an image classifier.** A folder, or a .zip of one, with one subfolder of pictures per class,
named like the classes of the model.
"""
_EXAMPLE = """concept,prompt,answer,split
Eiffel Tower,The Eiffel Tower is located in the city of,Paris,record
Eiffel Tower,The city where the Eiffel Tower stands is,Paris,record
Eiffel Tower,"To see the Eiffel Tower, one travels to",Paris,probe
Japan,The capital of Japan is,Tokyo,record
"""


def page() -> None:
    """Draw the page."""
    frame.title("Bring your own model", "Nothing is written to it, and no code of it is run.", page="model")
    if started().demo:
        st.info("Closed on this public screen: here only the bundled models can be opened.")
        return
    left, right = st.columns([5, 4], gap="large")
    with left:
        _ask()
    with right:
        st.markdown("##### What it can be")
        st.markdown(_FORMATS)
        st.download_button(
            "An example of a concept file", _EXAMPLE, "concepts.csv", "text/csv", on_click="ignore"
        )
    _found()


def _ask() -> None:
    options = started()
    st.session_state.setdefault("_own_model", options.model)
    st.session_state.setdefault("_own_path", options.concepts)
    st.markdown("##### Model")
    model = st.text_input("Folder or hub name", key="_own_model", placeholder="/path/to/model or org/name")
    st.markdown("##### Concepts")
    file = st.file_uploader("Upload a file", type=["csv", "jsonl", "ndjson", "zip"], key="_own_file")
    path = st.text_input(
        "or a path on the server", key="_own_path", disabled=file is not None, placeholder="/path/to/concepts"
    )
    ready = bool(model.strip()) and (file is not None or bool(path.strip()))
    if st.button(
        "Check it",
        type="primary",
        key="check",
        disabled=not ready,
        help=None if ready else "Name a model and give concepts first.",
    ):
        st.session_state[_KEY] = _begin(model.strip(), path.strip(), file)


def _begin(model: str, path: str, file: Any) -> Checking:
    if file is None:
        return Checking(Wanted.of(model, path))
    content = file.getvalue()
    stored, remove = upload(file.name, content)
    return Checking(Wanted.of(model, stored, content, label=file.name), after=remove)


def _found() -> None:
    checking: Checking | None = st.session_state.get(_KEY)
    if checking is None:
        return
    st.divider()
    status = st.empty()
    if not checking.wait(0.1):
        with status.status(f"Reading and checking {checking.wanted.model}", expanded=True):
            st.caption("A few inputs go through the model by the clock; the rest is counted from them.")
            while not checking.wait(0.3):
                pass
        status.empty()
    try:
        opened = checking.opened()
    except EngramError as error:
        st.error("This cannot be opened yet. Nothing was changed; correct it and check again.")
        # As code: what it quotes may be anything, and lines must stay lines.
        st.code(str(error), language=None, wrap_lines=True)
        return
    _report(opened)


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.1f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _report(opened: Opened) -> None:
    check = opened.check
    covered = int(check.layers["covered"].sum())
    st.markdown(f"##### Check-up of {opened.wanted.name}")
    st.html(
        stats(
            [
                ("Model", f"{check.parameters / 1e6:,.2f} M", f"parameters, {_size(check.model_bytes)}"),
                ("Layers", f"{covered} of {len(check.layers)}", "hold memories; the others are named below"),
                ("Memory", _size(check.memory_bytes), "beyond the model, estimated"),
                ("Time", _duration(check.seconds), "to record and solve, estimated from a timed trial"),
            ]
        )
    )
    for problem in check.problems:
        st.error(problem)
    for note in check.notes:
        st.info(note)
    if st.button("Open it on all pages", type="primary", key="open_own", disabled=not check.ok):
        session.own_model(opened.wanted.name, opened.loading)
        session.go("live", model=opened.wanted.name)
    layers, concepts = st.tabs(["Layers", "Concepts"])
    with layers:
        _table(check.layers, "layers")
    with concepts:
        _table(check.concepts, "concepts")


def _table(table: pd.DataFrame, name: str) -> None:
    st.dataframe(table, hide_index=True, width="stretch", column_config=columns_of(table))
    st.download_button(
        "CSV", lambda: table.to_csv(index=False), f"check-up-{name}.csv", "text/csv",
        on_click="ignore", key=f"csv_check_{name}", type="tertiary", icon=":material/download:",
    )  # fmt: skip
