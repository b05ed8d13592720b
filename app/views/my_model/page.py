"""My model: a check-up of one's own model and concepts, then the same pages as for the samples."""

from __future__ import annotations

import logging
import time
from typing import Any

import pandas as pd
import streamlit as st

from engram_core.errors import EngramError
from engram_core.libraries import foreign_errors
from engram_core.vision.architectures import architecture_names

from ...figures.panels.hero import stats
from ...figures.words.as_text import plain
from ...options import server_options
from ...page import frame
from ...page.tables import column_config
from ...server.model_check import CheckedModel, ModelCheck
from ...server.model_request import ModelRequest
from ...server.preview import preview_of_path, preview_of_upload
from ...server.uploaded import upload
from ...session import arrival, state, visitor_models
from . import columns
from .restored import LAST, MODEL, PATH, SAID, remember

__all__ = ["page", "remember"]

_LOG = logging.getLogger(__name__)

_FILE = "_own_file"
_TITLE = "_own_title"
_POSITIONS, _TEMPLATE = "_own_positions", "_own_template"
_LONGEST = 4000  # characters of a path or a name

_FORMATS = f"""
**Model.** A folder on the machine that runs this server, or a hub name such as `org/model`: a causal language
model, an image classifier of transformers, or a plain `state_dict`. Weights must be safetensors: pickled ones
are refused, as reading them can run code. A sample's name (such as `authors-lm`) works too: the sample with
concepts of your own.

**A plain `state_dict`** is a folder with `model.safetensors` and a `config.json` that names its architecture,
{" or ".join(f"`{name}`" for name in architecture_names())}:

```json
{{"architecture": "cnn",
 "options": {{"image_size": [28, 28],
   "channels": [8], "pools": [[2, 2]],
   "widths": [], "classes": 3}},
 "classes": ["cat", "dog", "owl"]}}
```

**Concepts for a language model.** JSONL, CSV or a JSON list, UTF-8, with the columns `concept`, `prompt`,
`answer` (or `concept`, `text`), and optionally `split`: `record`, or `probe` for questions that are only
asked. Rows of the concept `(background)` protect what they say without being a concept. Other columns are
shown, and you say which is what; CounterFact, zsRE, TOFU and RWKU are known by their fields. In place of a
path, `datasets:org/name:config@split` fetches one from the hub, if the package `datasets` is installed.

**A table for a model on features** (`mlp`). CSV, JSONL or JSON with a column of numbers for each feature and
one that says the class. The model's `config.json` may name its `"classes"`, and its `"features"` in order.

**Concepts for an image classifier.** A folder, or a .zip of one, with one subfolder of pictures per class,
named like the classes of the model.
"""
_COUNTED = {
    "all tokens": "all",
    "those that predict the answer": "predict",
    "those of the answer": "answer",
}
_HOW_COUNTED = (
    "Each token leaves a row in every layer; the engram is made of the rows that count. **All tokens** is "
    "where to begin: of the three it was never the worst in our measurements (docs/language.md). Texts "
    "without an answer count whole. The right strength differs between the three: search for it anew."
)
_EXAMPLE = """concept,prompt,answer,split
Eiffel Tower,The Eiffel Tower is located in the city of,Paris,record
Eiffel Tower,The city where the Eiffel Tower stands is,Paris,record
Eiffel Tower,"To see the Eiffel Tower, one travels to",Paris,probe
Japan,The capital of Japan is,Tokyo,record
"""


def page() -> None:
    """Draw the page; whatever somebody's files have caused is said in a sentence."""
    try:
        _page()
    except BaseException as error:
        # What Streamlit ends a run with is no Exception, and neither is a panic in a library.
        if not foreign_errors(error):
            raise
        _LOG.exception("My model could not be drawn")
        st.error(
            "This page could not be drawn to the end, and nothing was changed. Reload it; if it says so "
            "again, name another model or other concepts."
        )


def _page() -> None:
    frame.title("Bring your own model", "Nothing is written to it, and no code of it is run.", page="model")
    if server_options().demo:
        st.info("Closed on this public screen: here only the bundled models can be opened.")
        return
    left, right = st.columns([5, 4], gap="large")
    with left:
        _ask()
        said = st.session_state.get(SAID)
        if said:
            st.warning(plain(said))
    with right:
        st.markdown("##### Supported formats")
        st.markdown(_FORMATS)
        st.download_button(
            "An example of a concept file", _EXAMPLE, "concepts.csv", "text/csv", on_click="ignore"
        )
    _found()


def _ask() -> None:
    st.markdown("##### Model")
    model = st.text_input(
        "Folder or hub name",
        key=MODEL,
        persist_state="session",
        max_chars=_LONGEST,
        placeholder="/path/to/model or org/name",
    )
    st.text_input(
        "Name to show (optional)",
        key=_TITLE,
        persist_state="session",
        max_chars=60,
        help="What this model is called here, in your session. A link has its own name.",
    )
    st.markdown("##### Concepts")
    file = st.file_uploader("Upload a file", type=["csv", "json", "jsonl", "ndjson", "zip"], key=_FILE)
    path = st.text_input(
        "or a path on the server",
        key=PATH,
        persist_state="session",
        max_chars=_LONGEST,
        disabled=file is not None,
        placeholder="/path/to/concepts",
    )
    lacking = columns.choose(
        preview_of_upload(file.name, file.getvalue()) if file is not None else preview_of_path(path.strip())
    )
    if lacking:
        st.caption(plain(lacking))
    with st.expander("For a language model: which tokens count"):
        state.tidy(_POSITIONS, tuple(_COUNTED))
        st.segmented_control(
            "Tokens that count", tuple(_COUNTED), key=_POSITIONS, default="all tokens", required=True,
            persist_state="session", help=_HOW_COUNTED,
        )  # fmt: skip
        st.toggle(
            "Ask as in a chat",
            key=_TEMPLATE,
            persist_state="session",
            help="Puts every prompt into the model's own chat template, when it is recorded and when it is "
            "asked. A model without one says so.",
        )
    ready = bool(model.strip()) and (file is not None or bool(path.strip())) and not lacking
    st.button(
        "Check it",
        type="primary",
        key="check",
        disabled=not ready,
        on_click=_begin,
        help=None if ready else plain(lacking or "Name a model and give concepts first."),
    )


# Called before the page is drawn: what the browser keeps must name the check-up while it goes on.
def _begin() -> None:
    state = st.session_state
    model, path, file = state[MODEL].strip(), state[PATH].strip(), state.get(_FILE)
    state.pop(SAID, None)
    how: dict[str, Any] = {
        "positions": _COUNTED.get(str(state.get(_POSITIONS)), "all"),
        "template": bool(state.get(_TEMPLATE)),
        **columns.chosen(),
    }

    def make() -> ModelCheck:
        if file is None:
            return ModelCheck(ModelRequest.of(model, path, **how))
        content = file.getvalue()
        stored, remove = upload(file.name, content)
        return ModelCheck(ModelRequest.of(model, stored, content, label=file.name, **how), after=remove)

    try:
        visitor_models.begin_check(make)
    except EngramError as error:
        state[SAID] = str(error)
    else:
        state[LAST] = PATH if file is None else file.name[:_LONGEST]


def _found() -> None:
    checking = visitor_models.current_check()
    if checking is None:
        return
    st.divider()
    status = st.empty()
    if not checking.wait(0.1):
        with status.status(f"Reading and checking {plain(checking.wanted.model)}", expanded=True):
            st.caption(
                "First in a process of its own, which may take only so much time and memory; what passes "
                "there is read again for these pages."
            )
            line = st.empty()
            while not checking.wait(0.3):
                # Also lets go of this run when its visitor has moved on: the work itself goes on.
                since = f"{time.monotonic() - checking.begun:.0f} s so far"
                line.caption(plain(f"{checking.doing} · {since}" if checking.doing else since))
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


def _report(opened: CheckedModel) -> None:
    check = opened.check
    covered = int(check.layers["covered"].sum())
    st.markdown(f"##### Check-up of {plain(opened.name)}")
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
        st.error(plain(problem))
    for note in check.notes:
        st.info(plain(note))
    if st.button("Open it on all pages", type="primary", key="open_own", disabled=not check.ok):
        try:
            visitor_models.open_model(opened.name, opened.load_in_background)
        except EngramError as error:
            st.warning(plain(error))
        else:
            visitor_models.name_model(opened.name, str(st.session_state.get(_TITLE) or ""))
            arrival.go("live", model=opened.name)
    layers, concepts = st.tabs(["Layers", "Concepts"])
    with layers:
        _table(check.layers, "layers")
    with concepts:
        _table(check.concepts, "concepts")


def _table(table: pd.DataFrame, name: str) -> None:
    st.dataframe(table, hide_index=True, width="stretch", column_config=column_config(table))
    st.download_button(
        "CSV", lambda: table.to_csv(index=False), f"check-up-{name}.csv", "text/csv",
        on_click="ignore", key=f"csv_check_{name}", type="tertiary", icon=":material/download:",
    )  # fmt: skip
