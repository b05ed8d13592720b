"""The models that one visitor opened or came to by a link, and their check-up."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from engram_core.errors import EngramError

from ..options import server_options
from ..server.background_load import BackgroundLoad
from ..server.bounded_store import FullError
from ..server.model_check import ModelCheck
from ..server.opened_models import (
    CHECK_MINUTES,
    MINUTES,
    forget,
    model_checks,
    models_in_memory,
    opened_models,
)
from .visitor_identity import visitor_id

__all__ = [
    "admit",
    "begin_check",
    "current_check",
    "default_model",
    "model_names",
    "name_model",
    "note_use",
    "open_model",
    "shown_name",
]

_STOPPED = 1.0  # seconds in which a check-up that is ended gives its place back
_LINKED = "_linked"
_SHOWN_NAMES = "_shown_names"  # by the name of a model
_MOST_SHOWN = 60  # characters
_ELSEWHERE = "or start a server of your own: engram app --model … --concepts …"


def default_model() -> str:
    """Return the name of the model that this server was started with; "" for the first sample."""
    options = server_options()
    if held := models_in_memory():
        return held[0]
    return next(iter(opened_models().kept), "") if options.concepts else options.model


def model_names() -> list[str]:
    """Return the models that this visitor opened or came to by a link, and that the server has."""
    store = opened_models()
    known = {*store.kept, *store.opened_by(visitor_id()), *st.session_state.get(_LINKED, ())}
    return [*models_in_memory(), *(name for name in store if name in known)]


def admit(name: str) -> bool:
    """List a model to this visitor, who knows its name; return whether the server has it."""
    if name in models_in_memory():
        return True
    if name not in opened_models():
        return False
    linked = st.session_state.get(_LINKED, ())
    if name not in linked:
        st.session_state[_LINKED] = (*linked, name)
    return True


def name_model(name: str, shown: str) -> None:
    """Call a model by a name of this visitor's own, in this session; it is text and never markup."""
    shown = " ".join(shown.split())[:_MOST_SHOWN]
    if shown:
        st.session_state[_SHOWN_NAMES] = st.session_state.get(_SHOWN_NAMES, {}) | {name: shown}


def shown_name(name: str) -> str:
    """Return what a visitor calls a model, with the part of its name that tells it from others."""
    shown = st.session_state.get(_SHOWN_NAMES, {}).get(name)
    return f"{shown} · {name.rpartition('-')[2][:6]}" if shown else name


def note_use(name: str) -> None:
    """Note that this visitor uses a model."""
    opened_models().get(name, visitor_id())


def open_model(name: str, load: Callable[[], BackgroundLoad]) -> None:
    """Make a visitor's own model one that can be chosen.

    Raises:
        EngramError: there is no room for it.
    """
    try:
        for gone in opened_models().put(name, lambda: load, visitor_id()):
            forget(gone)
    except FullError as full:
        raise EngramError(
            f"This server holds {full.count} own models, as many as it has room for, and other visitors used "
            f"every one of them in the last {MINUTES} minutes. Nothing was changed. Try again in "
            f"{full.minutes} min, {_ELSEWHERE}."
        ) from None


def begin_check(make: Callable[[], ModelCheck]) -> None:
    """Begin a check-up for this visitor; the one before is ended if it is not done.

    Raises:
        EngramError: there is no room for it.
    """
    before = current_check()
    if before is not None and before.running:
        before.stop()
        before.wait(_STOPPED)
    try:
        model_checks().put(visitor_id(), make, visitor_id())
    except FullError as full:
        raise EngramError(
            f"{full.count} models are being checked on this server or were checked in the last "
            f"{CHECK_MINUTES} minutes, as many as it has room for. Nothing was changed. Try again in "
            f"{full.minutes} min, {_ELSEWHERE}."
        ) from None


def current_check() -> ModelCheck | None:
    """Return this visitor's check-up, going on or done."""
    return model_checks().get(visitor_id(), visitor_id())
