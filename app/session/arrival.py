"""How a whole choice arrives: with an address, the browser's Back, a session file, or from another page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ..choice import choice as choices
from ..choice.address import KINDS, values_of
from ..choice.choice import Facts
from ..choice.old_tour import moved
from ..choice.short_address import unpacked
from ..options import server_options
from .awaited import awaited_address, awaited_model, move_on, note_shown, set_aside, untouched_address
from .state import clear_inputs, model, models, put, reset, tidy_for
from .visitor_models import admit
from .written_address import first_run, forget_address_problems, note_read_address, note_written

__all__ = ["arrive", "choose_model", "go", "model_changed", "open_address", "open_next", "pending", "settle"]

_PENDING = "_pending"
_OPENED = "_opened_address"

_BLANK: dict[str, Any] = {"image": 1, "drawn": "", "lesson": 0, "predicted": ""}
"""Values of the first day, beside those of the writing; pages replace None by their own."""


def arrive() -> str | None:
    """Take over the choice in the address when somebody comes with one; return the page that it names.

    Somebody comes with the first run of a session, and with the browser's back and forward buttons. An
    address that is merely another than the one written last proves nothing: a click made before the browser
    has heard of the newest address still carries the one before. Widgets are not bound to the address by
    Streamlit: what is set by a program reaches a bound address only if its widget was there before (1.67),
    and links would lose half of what they name.

    Returns:
        The page that the address names, or None.
    """
    written = {key: st.query_params.get_all(key) for key in st.query_params}
    found = moved(unpacked(written))
    first = first_run()
    if first:
        note_read_address(found)
        put(**values_of(found))
        set_aside(found)
    elif found and _by_history():
        _take_over(found)
    elif _PENDING in st.session_state:
        pass  # what is about to be opened says what becomes of a choice that waits
    elif untouched_address() and admit(awaited_model()):
        _take_over(awaited_address())
    note_written(written)
    return found.get("page", [""])[-1] if first else None


def _by_history() -> bool:
    """Return whether the browser's back or forward button started this run."""
    return bool(getattr(get_script_run_ctx(), "is_history_navigation", False))


def _take_over(address: Mapping[str, Sequence[str]]) -> None:
    """Put a whole choice in force: what it does not name is as on the first day.

    Set and not deleted: a widget on the screen would go on showing what it had.
    """
    values = values_of(address)
    name = values.get("model")
    set_aside(address)
    reset(name if name in models() else None)
    most_tokens = server_options().most_tokens
    blank = _BLANK | {key: start for key, (start, *_) in choices.writing(most_tokens).items()}
    for key, kind in KINDS.items():
        if key in st.session_state and key not in values and key not in (*choices.DEFAULTS, "model"):
            st.session_state[key] = blank.get(key, False if kind is bool else None)
    note_read_address(address)
    put(**values)


def open_address(page: str, address: Mapping[str, Sequence[str]]) -> None:
    """Open a page with the whole choice of an address or a session file; ends the run."""
    open_next(page, address)
    st.rerun()


def open_next(page: str, address: Mapping[str, Sequence[str]]) -> None:
    """Open a page with the whole choice of an address in the run that follows; for callbacks."""
    found = moved(address)
    page = found.pop("page", [page])[-1]
    st.session_state[_PENDING], st.session_state[_OPENED] = (page, {}), found


def go(page: str, **values: Any) -> None:
    """Open a page with a choice: what is not named of the edit is as if nothing were edited.

    Call it outside callbacks; it ends the run.
    """
    forget_address_problems()
    st.session_state[_PENDING] = (page, values)
    st.rerun()


def pending() -> str | None:
    """Put a choice made by `go` or `open_address` in force; return the page that it is for."""
    page: str | None
    page, values = st.session_state.pop(_PENDING, (None, {}))
    opened = st.session_state.pop(_OPENED, None)
    if page is None:
        return None
    if opened is not None:
        _take_over(opened)
        return page
    name = values.get("model") or model()
    if name == awaited_model() and name in models():
        _take_over(awaited_address())
        return page
    if values:
        move_on()
    if name in models():
        if model() != name:
            model_changed()
        if set(values) & {*choices.DEFAULTS, "model"}:
            reset(name)
        put(model=name)
    if {"class", "image"} & set(values):
        put(drawn="")  # a drawing would be shown instead of the image that is named
    put(**{key: value for key, value in values.items() if key != "model"})
    return page


def model_changed() -> None:
    """Start afresh: another model has other concepts, layers and inputs."""
    reset()
    forget_address_problems()
    move_on()
    clear_inputs()


def choose_model(name: str, **inputs: Any) -> None:
    """Choose another model and what is shown of it, with nothing edited; call it in a callback.

    Args:
        name: of the model.
        inputs: what is shown, by key: class and image, or prompt.
    """
    put(model=name)
    model_changed()
    put(**inputs)


def settle(facts: Facts, offered: Mapping[str, Sequence[Any]] | None = None) -> None:
    """Let go of what a model does not have, before a page writes it into its address again.

    Args:
        facts: the model.
        offered: what its pages offer beside the edit, by key.
    """
    tidy_for(facts, offered or {})
    note_shown()
