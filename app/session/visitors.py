"""The base that one visitor looks at, and the edited view of it that only this visitor has."""

from __future__ import annotations

import logging

import streamlit as st

from engram_core.errors import EngramError

from ..compute.edited_view import Visitor
from ..figures.words.as_text import plain
from ..options import server_options
from ..server.base import Base
from ..server.opened_models import forget, running_load
from .state import note_names
from .visitor_models import note_use

__all__ = ["base_of", "visitor_of"]

_LOG = logging.getLogger(__name__)
_VISITORS = "_visitors"
_MOST_VIEWS = 2


def base_of(name: str) -> Base:
    """Return the base of a model; while it is being prepared, show how far it is.

    Raises:
        EngramError: if the model cannot be loaded; the next call tries again.
    """
    note_use(name)
    work = running_load(name)
    if not work.wait(0.15):
        place = st.empty()
        with place.container():
            st.markdown(f"#### Preparing {plain(name)}")
            st.caption("Once per start of the server. One pass over the data serves every concept.")
            bar = st.progress(0.0)
        while not work.wait(0.15):
            bar.progress(min(work.fraction, 1.0), text=plain(work.doing))
        place.empty()
    if work.failed:
        forget(name)
    try:
        base = work.base()
    except EngramError:
        raise
    except Exception as error:
        _LOG.exception("%s could not be prepared", name)
        more = "" if server_options().demo else f" ({type(error).__name__}: {error})"
        raise EngramError(
            f"The model {name} could not be prepared{more}. Reload the page to try again, or choose another "
            "model at the side."
        ) from None
    note_names(base.facts)
    return base


def visitor_of(base: Base) -> Visitor:
    """Return this visitor's own view of a base."""
    visitors: dict[str, Visitor] = st.session_state.setdefault(_VISITORS, {})
    visitor = visitors.pop(base.facts.name, None)
    if visitor is None or visitor.base is not base:
        visitor = Visitor(base)
    visitors[base.facts.name] = visitor
    while len(visitors) > _MOST_VIEWS:
        visitors.pop(next(iter(visitors)))
    return visitor
