"""Export model: the edited model, its adapters or its engrams, made when somebody asks for them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engram_core.errors import EngramError

from ...choice.choice import Choice
from ...compute import export as take
from ...figures.words.as_text import plain
from ...options import server_options
from ...page import headings
from ...page.snippets import edit_code, model_code
from ...page.tables import column_config
from ...server.base import Base
from ..shared import controls

__all__ = ["draw"]

_TAKEN, _WANTED = "_taken_model", "_take_wanted"
# Streamlit holds a file that is being downloaded in memory.
_MOST = 2 * 2**30

_HOW = """
**What you get.** Files that work without this program.

* **Edited model.** A language model: an ordinary Hugging Face folder, which plain transformers loads. An
  image model: its weights as safetensors with a config.json. engram.json beside it says what was done.
* **LoRA adapters.** One per concept, in PEFT's format, with the scaling −α: on the base they give the edited
  model, and they can be switched on and off one by one. Cut to a rank they are smaller and no longer exact;
  the error ‖E − E_rank‖ / ‖E‖ of every layer is shown when they are made.
* **Engrams.** Those of the chosen concepts or of all as one file, with their texts and settings.
  `ec.Atlas.load` reads it; it refuses a model it does not belong to.

A file is deleted on the server when another one is made, and after 15 minutes at the latest.
"""


def draw(base: Base, choice: Choice) -> None:
    """Draw the block; nothing is made before somebody asks."""
    if server_options().demo:
        return
    headings.heading("Export model", _HOW)
    options = take.kinds(base)
    controls.ready("_take_kind", options, options[0])
    left, right = st.columns([5, 3], vertical_alignment="bottom")
    with left:
        kind = str(st.segmented_control("What", options, format_func=plain, key="_take_kind", required=True))
    rank, every = None, True
    with right:
        if kind == take.ATLAS and choice.concepts:
            st.session_state.setdefault("_take_only", True)
            every = not st.toggle("Only the chosen concepts", key="_take_only")
        if kind == take.ADAPTERS:
            rank = int(st.number_input(
                "Cut to rank (0: whole)", 0, 4096, 0, key="_take_rank",
                help="A lower rank makes smaller adapters; what that costs is shown layer by layer.",
            )) or None  # fmt: skip
    refused = take.refusal(base, choice, kind)
    if refused:
        st.caption(plain(refused))
        _forget()
        return
    bytes_ = take.size(base, choice, kind, rank, every=every)
    if bytes_ > _MOST:
        st.info(
            plain(
                f"That is about {_said(bytes_)}, more than a browser should be given at once. Write it where "
                "the model is, with the Python below."
            )
        )
        st.code(_code(base, choice, kind, rank, every), language="python", wrap_lines=True)
        return
    key = (base.digest, choice, kind, rank, every)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            plain(f"Prepare ({_said(bytes_)})"), key="take_prepare", on_click=_ask, args=(key,),
            icon=":material/inventory_2:",
        )  # fmt: skip
        with st.popover("Python", type="tertiary", key="take_python"):
            st.code(_code(base, choice, kind, rank, every), language="python", wrap_lines=True)
    taken = _prepared(base, choice, key)
    if taken is not None:
        _offer(taken)


def _ask(key: Any) -> None:
    # Not the button's own value: that is lost with a run that does not come as far as this block.
    st.session_state[_WANTED] = key


def _forget() -> None:
    _, taken = st.session_state.pop(_TAKEN, (None, None))
    if taken is not None:
        taken.delete()


def _prepared(base: Base, choice: Choice, key: Any) -> take.Taken | None:
    """Return the file of this very setting, made now if it was asked for."""
    known, taken = st.session_state.get(_TAKEN, (None, None))
    if known is not None and (known != key or not taken.there):
        _forget()
        taken = None
    if st.session_state.get(_WANTED) != key:
        return taken
    _forget()
    status = st.empty()
    *_, kind, rank, every = key
    try:
        taken = take.make(
            base, choice, kind, rank=rank, every=every,
            step=lambda share, doing: _tell(status, share, doing),
        )  # fmt: skip
    except EngramError as error:
        st.session_state.pop(_WANTED, None)
        status.warning(plain(error))
        return None
    st.session_state.pop(_WANTED, None)
    st.session_state[_TAKEN] = key, taken
    status.empty()
    return taken


def _tell(place: Any, share: float, doing: str) -> None:
    place.progress(min(share, 1.0), text=plain(doing))


def _offer(taken: take.Taken) -> None:
    st.download_button(
        plain(f"Download {taken.name} ({_said(taken.bytes)})"),
        # Read when it is asked for: a page that is only looked at keeps nothing in memory.
        taken.path.read_bytes,
        taken.name,
        "application/zip" if taken.name.endswith(".zip") else "application/octet-stream",
        on_click="ignore",
        type="primary",
        key="take_download",
    )
    if taken.errors is not None:
        table = taken.errors
        worst = table.loc[table["error"].idxmax()]
        st.caption(
            "The adapters hold the whole engrams: nothing was cut."
            if not worst["error"]
            else plain(
                f"Cut, the adapters leave out up to {worst['error']:.1%} of an engram's norm "
                f"({worst['concept']}, {worst['layer']})."
            )
        )
        if worst["error"]:
            st.dataframe(table, hide_index=True, width="stretch", column_config=column_config(table))


def _said(count: float) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{max(count, 1024) / 1024:.0f} kB"


def _code(base: Base, choice: Choice, kind: str, rank: int | None, every: bool) -> str:
    """Return Python that writes the same."""
    classes = base.facts.classes
    if kind == take.ATLAS:
        about = "" if every else f", concepts={list(choice.concepts)!r}"
        lines = [model_code(base.load_code, choice)]
        if base.is_text:
            lines.append("from engram_core.language import about_texts")
            about += ", about=about_texts(sample.concepts, atlas)"
        return "\n".join([*lines, f'atlas.save("engrams.safetensors"{about})'])
    if kind == take.ADAPTERS:
        layers = "" if choice.everywhere else f", layers={list(choice.layers)!r}"
        cut = "" if rank is None else f", rank={rank}"
        return "\n".join([
            model_code(base.load_code, choice),
            "from engram_core.language import adapter_folders, save_lora",
            "folders = adapter_folders(atlas.concepts)",
            f"for name, strength in {choice.strengths!r}.items():",
            '    place = f"adapters/{folders[name]}"',
            f"    print(save_lora(atlas, name, place, strength=strength{cut}{layers}))",
        ])  # fmt: skip
    code = edit_code(base.load_code, choice, classes)
    if hasattr(base.sample.model, "save_pretrained"):
        tokenizer = ", sample.task.tokenizer" if base.is_text else ""
        return (
            f"{code}\nfrom engram_core.language import save_edited\n"
            f'save_edited(edited, "edited-model"{tokenizer})'
        )
    return (
        f"{code}\nfrom safetensors.torch import save_file\n"
        'save_file(ec.bake(edited).state_dict(), "model.safetensors")'
    )
