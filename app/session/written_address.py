"""The address in the browser: what it says, and what of it could not be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

import streamlit as st

from ..choice import choice as choices
from ..choice import search
from ..choice.address import to_query
from ..choice.choice import Facts
from ..choice.short_address import PACKED, expanded, shortened
from ..options import server_options
from .awaited import untouched_address
from .state import all_names, models, values

__all__ = [
    "address_problems",
    "forget_address_problems",
    "first_run",
    "note_read_address",
    "keys_without_room",
    "next_address",
    "note_written",
    "write_address",
]

_ADDRESS = "_address"  # as it came
_WRITTEN = "_written"


def first_run() -> bool:
    """Return whether no address was read or written yet in this session."""
    return _WRITTEN not in st.session_state


def note_written(address: Mapping[str, Sequence[str]]) -> None:
    """Note what the browser's address says."""
    st.session_state[_WRITTEN] = address


def note_read_address(address: Mapping[str, Sequence[str]]) -> None:
    """Keep an address as it came, for the message about it."""
    st.session_state[_ADDRESS] = {key: list(texts) for key, texts in address.items()}


def forget_address_problems() -> None:
    """Forget the address as it came, and with it the message about it."""
    st.session_state[_ADDRESS] = {}


def _shortened() -> tuple[dict[str, list[str]], tuple[str, ...]]:
    whole = untouched_address() or parse_qs(to_query(values()), keep_blank_values=True)
    return shortened(whole, all_names())


def next_address() -> dict[str, list[str]]:
    """Return what the address is to say: the whole choice, or what it says while its model is awaited."""
    return _shortened()[0]


def keys_without_room() -> tuple[str, ...]:
    """Return the keys of the choice that the address has no room for."""
    return _shortened()[1]


def write_address() -> None:
    """Write the whole choice into the address."""
    wanted = next_address()
    if wanted != st.session_state.get(_WRITTEN):
        note_written(wanted)
        st.query_params.from_dict(wanted)


def address_problems(facts: Facts, offered: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what in the address could not be used for a model, as long as that model is open.

    Args:
        facts: the model.
        offered: what the pages offer beside the edit, by key.
    """
    address = dict(st.session_state.get(_ADDRESS, {}))
    asked = address.get("model", [models()[0]])
    if asked[-1:] != [facts.name]:
        return []
    options = server_options()
    limits = {key: (low, high) for key, (_, low, high) in choices.writing(options.most_tokens).items()}
    limits |= search.bounds(facts, demo=options.demo)
    names = {"concepts": facts.classes, "layers": facts.layers}
    address |= {key: expanded(address[key], every) for key, every in names.items() if key in address}
    found = choices.problems(address, facts, offered, limits)
    count = len(set(address.get("concepts", ())) & set(facts.classes))
    if count > options.most_concepts:
        found.append(f"{count} concepts are too many here: the first {options.most_concepts} count")
    if PACKED in address:
        found.append(f"“{PACKED}” cannot be read: the address was cut or changed on its way")
    return found
