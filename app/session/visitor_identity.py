"""What a visitor is known by, here and in the browser that remembers it."""

from __future__ import annotations

import re
import secrets

import streamlit as st

from ..server.opened_models import (
    opened_models,
)

__all__ = ["take_visitor_id", "visitor_id"]

_VISITOR = "_visitor"


_ID = re.compile(r"[\w-]{20,64}")


def visitor_id() -> str:
    """Return what this visitor is known by; nobody can guess it, and it stands in no address."""
    return str(st.session_state.setdefault(_VISITOR, secrets.token_urlsafe(16)))


def take_visitor_id(known: str) -> None:
    """Be the visitor that the browser remembers; what was used under the name of this session moves along."""
    if _ID.fullmatch(known):
        opened_models().rename(visitor_id(), known)
        st.session_state[_VISITOR] = known
