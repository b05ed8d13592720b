"""Models and check-ups that visitors of this server opened: the caches that they share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from engram_core.opening.in_memory import in_memory, names_in_memory

from ..options import server_options
from .background_load import BackgroundLoad
from .bounded_store import BoundedStore
from .model_check import ModelCheck
from .model_request import ModelRequest

__all__ = [
    "CHECK_MINUTES",
    "MINUTES",
    "MOST_CHECKS",
    "MOST_MODELS",
    "forget",
    "forget_all",
    "running_load",
    "model_checks",
    "models_in_memory",
    "opened_models",
]

MOST_MODELS = 4
MOST_CHECKS = 6
MINUTES = 30
"""For so long a model that somebody used is not let go for another visitor's."""
CHECK_MINUTES = 10
"""For so long a check-up is kept for its visitor."""


# By name, and shared by the visitors of one server, so that a link to one works for whoever has the link.
@st.cache_resource
def opened_models() -> BoundedStore[Callable[[], BackgroundLoad]]:
    """Return the models that were opened on this server, each as what starts to load it."""
    store: BoundedStore[Callable[[], BackgroundLoad]] = BoundedStore(MOST_MODELS, 60 * MINUTES)
    options = server_options()
    if options.concepts:
        # The Python beside a figure names both, and a public screen shows no paths.
        request = ModelRequest.of(options.model, options.concepts, hidden=options.demo)
        name = request.name()
        store.keep(name, partial(request.load_in_background, name))
    return store


# By visitor: whoever reloads the page comes as a new session, and finds it by what their browser kept.
@st.cache_resource
def model_checks() -> BoundedStore[ModelCheck]:
    """Return the check-ups of this server, by visitor."""
    return BoundedStore(MOST_CHECKS, 60 * CHECK_MINUTES, busy=lambda check: check.running)


# Shared by all visitors. It returns at once: the work goes on in the thread it started.
@st.cache_resource(max_entries=6, show_spinner=False)
def _running_load(name: str, version: int) -> BackgroundLoad:
    held = in_memory(name)
    if held is not None and held.version == version:
        sample = held.sample
        return BackgroundLoad(lambda: sample, start={"load_code": held.code})
    load = opened_models().get(name)
    return load() if load else BackgroundLoad.of_sample(name)


def models_in_memory() -> list[str]:
    """Return the names of the models that this process was given in memory, the newest first."""
    return names_in_memory()


def _version(name: str) -> int:
    held = in_memory(name)
    return 0 if held is None else held.version


def running_load(name: str) -> BackgroundLoad:
    """Return a model on its way, or there."""
    return _running_load(name, _version(name))


def forget(name: str) -> None:
    """Let go of a model that was loaded, or could not be."""
    _running_load.clear(name, _version(name))


def forget_all() -> None:
    """Let go of all models that were loaded."""
    _running_load.clear()
