"""Own models of this server: who sees which, how many there can be, and what is on its way to become one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from functools import partial

import streamlit as st

from engram_core.errors import EngramError

from ..options import started
from ..server.base import Loading
from ..server.open_models import FullError, Shelf
from ..server.own_model import Checking, Wanted

__all__ = [
    "MINUTES",
    "adopt",
    "be",
    "begin",
    "checking",
    "first",
    "listed",
    "loading",
    "open_model",
    "own",
    "used",
]

MOST_MODELS = 4
MOST_CHECKS = 6
MINUTES = 30
"""For so long a model that somebody used is not let go for another visitor's."""
_CHECK_MINUTES = 10
_STOPPED = 1.0  # seconds in which a check-up that is ended gives its place back
_VISITOR = "_visitor"
_LINKED = "_linked"
_TOKEN = re.compile(r"[\w-]{20,64}")
_ELSEWHERE = "or start a server of your own: engram app --model … --concepts …"


# By name, and shared by the visitors of one server, so that a link to one works for whoever has the link.
@st.cache_resource
def own() -> Shelf[Callable[[], Loading]]:
    """Return the own models of this server."""
    shelf: Shelf[Callable[[], Loading]] = Shelf(MOST_MODELS, 60 * MINUTES)
    options = started()
    if options.concepts:
        # The Python beside a figure names both, and a public screen shows no paths.
        wanted = Wanted.of(options.model, options.concepts, hidden=options.demo)
        name = wanted.name()
        shelf.keep(name, partial(wanted.loading, name))
    return shelf


# By visitor: whoever reloads the page comes as a new session, and finds it by what their browser kept.
@st.cache_resource
def _checks() -> Shelf[Checking]:
    return Shelf(MOST_CHECKS, 60 * _CHECK_MINUTES, busy=lambda each: each.running)


# Shared by all visitors. It returns at once: the work goes on in the thread it started.
@st.cache_resource(max_entries=6, show_spinner=False)
def loading(name: str) -> Loading:
    """Return a model on its way, or there."""
    load = own().get(name)
    return load() if load else Loading.of_sample(name)


def visitor() -> str:
    """Return what this visitor is known by; nobody can guess it, and it stands in no address."""
    return str(st.session_state.setdefault(_VISITOR, secrets.token_urlsafe(16)))


def be(token: str) -> None:
    """Be the visitor that the browser remembers; what was used under the name of this session moves along."""
    if _TOKEN.fullmatch(token):
        own().rename(visitor(), token)
        st.session_state[_VISITOR] = token


def first() -> str:
    """Return the name of the model that this server was started with; "" for the first sample."""
    return next(iter(own().kept), "") if started().concepts else started().model


def listed() -> list[str]:
    """Return the own models that this visitor opened or came to by a link, and that the server has."""
    shelf = own()
    mine = {*shelf.kept, *shelf.opened_by(visitor()), *st.session_state.get(_LINKED, ())}
    return [name for name in shelf if name in mine]


def adopt(name: str) -> bool:
    """List a model to this visitor, who knows its name; return whether the server has it."""
    if name not in own():
        return False
    linked = st.session_state.get(_LINKED, ())
    if name not in linked:
        st.session_state[_LINKED] = (*linked, name)
    return True


def used(name: str) -> None:
    """Say that this visitor uses a model."""
    own().get(name, visitor())


def open_model(name: str, load: Callable[[], Loading]) -> None:
    """Make a visitor's own model one that can be chosen.

    Raises:
        EngramError: there is no room for it.
    """
    try:
        for gone in own().put(name, lambda: load, visitor()):
            loading.clear(gone)
    except FullError as full:
        raise EngramError(
            f"This server holds {full.count} own models, as many as it has room for, and other visitors used "
            f"every one of them in the last {MINUTES} minutes. Nothing was changed. Try again in "
            f"{full.minutes} min, {_ELSEWHERE}."
        ) from None


def begin(make: Callable[[], Checking]) -> None:
    """Begin a check-up for this visitor; the one before is ended if it is not done.

    Raises:
        EngramError: there is no room for it.
    """
    before = checking()
    if before is not None and before.running:
        before.stop()
        before.wait(_STOPPED)
    try:
        _checks().put(visitor(), make, visitor())
    except FullError as full:
        raise EngramError(
            f"{full.count} models are being checked on this server or were checked in the last "
            f"{_CHECK_MINUTES} minutes, as many as it has room for. Nothing was changed. Try again in "
            f"{full.minutes} min, {_ELSEWHERE}."
        ) from None


def checking() -> Checking | None:
    """Return this visitor's check-up, going on or done."""
    return _checks().get(visitor(), visitor())
