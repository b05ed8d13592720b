"""A whole choice that waits for its model: an address may name one that this server does not have yet.

It is set aside until somebody opens that model, and the address says it as long as nothing else is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import streamlit as st

from ..choice.address import to_query, values_of
from ..options import server_options
from ..server.opened_models import MINUTES
from .state import defaults, edit_values, model, models, values
from .visitor_models import admit

__all__ = [
    "awaited_address",
    "awaited_model",
    "untouched_address",
    "move_on",
    "note_shown",
    "set_aside",
    "unknown_model",
]

_AWAITED = "_awaited"  # the name of the model, and the address
_SHOWN = "_seen"  # the edit of the model shown instead; None once something was chosen there


def awaited_model() -> str:
    """Return the name of the model that a choice waits for; "" if none does."""
    return str(st.session_state.get(_AWAITED, ("",))[0])


def awaited_address() -> dict[str, list[str]]:
    """Return the whole choice that waits, as an address."""
    address: dict[str, list[str]] = st.session_state[_AWAITED][1]
    return address


def set_aside(address: Mapping[str, Sequence[str]]) -> None:
    """Set a whole choice aside until its model is here, if it is not."""
    name = values_of(address).get("model")
    st.session_state.pop(_AWAITED, None)
    st.session_state.pop(_SHOWN, None)
    if name is not None and not admit(name) and name not in models():
        st.session_state[_AWAITED] = (
            name,
            {key: list(texts) for key, texts in address.items() if key != "page"},
        )


def untouched_address() -> dict[str, list[str]] | None:
    """Return the address to be left alone: its model is awaited, and nothing was chosen since."""
    if _AWAITED not in st.session_state:
        return None
    # None: something was chosen. Empty: the model shown instead has not yet let go of what it does not have.
    shown: dict[str, Any] | None = st.session_state.get(_SHOWN, {})
    now = edit_values()
    if shown is None or any(now[key] != value for key, value in shown.items() if key in now):
        move_on()
        return None
    return awaited_address()


def note_shown() -> None:
    """Note what the model that is shown instead starts with: what differs from it later was chosen."""
    if untouched_address() is not None:
        st.session_state.setdefault(_SHOWN, defaults(model()) | edit_values())


def move_on() -> None:
    """Let the address follow the choice again; what is awaited is kept for the day its model is here."""
    if _AWAITED in st.session_state:
        st.session_state[_SHOWN] = None


def unknown_model() -> str | None:
    """Return a sentence if the model that was asked for is not here, or is no longer."""
    name = st.session_state.get("model")
    if name is not None and name not in models() and awaited_model() != name:
        set_aside(parse_qs(to_query(values(str(name))), keep_blank_values=True))
    if not untouched_address():
        return None
    said = f"There is no model “{awaited_model()[:40]}” on this server. Shown instead: {model()}."
    if server_options().demo:
        return said
    return (
        f"{said} An own model is known until the server stops, or others need its room after "
        f"{MINUTES} minutes without use. Open it again under “My model”: what this address names of "
        "it comes back."
    )
