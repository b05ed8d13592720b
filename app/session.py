"""One visitor: what was chosen, the base it is about, and the edited view that only this visitor has."""

from __future__ import annotations

import random
from typing import Any

import streamlit as st

from engram_core.samples import sample_names

from . import choice as choices
from .choice import Choice, Facts
from .core_adapter import Base, Loading, Visitor

__all__ = [
    "address_problems",
    "base_of",
    "choice_of",
    "new_image",
    "random_image",
    "reset",
    "sample_changed",
    "samples",
    "visitor_of",
]

_VISITORS = "_visitors"
_CHECKED = "_checked_addresses"
_MOST_VIEWS = 2


# The samples this page can show: images that one class is named for. Language models get a page of their own.
_IMAGES = ("digits-mlp", "fashion-cnn")


@st.cache_data
def samples() -> list[str]:
    """Return the names of the samples that the live page can show, the default first."""
    there = sample_names()
    return [name for name in _IMAGES if name in there]


# Shared by all visitors. It returns at once: the work goes on in the thread it started.
@st.cache_resource(max_entries=4, show_spinner=False)
def _loading(name: str) -> Loading:
    return Loading(name)


def base_of(name: str) -> Base:
    """Return the base of a sample; while it is being prepared, show how far it is.

    Raises:
        EngramError: if the sample cannot be loaded; the next call tries again.
    """
    work = _loading(name)
    if not work.wait(0.15):
        place = st.empty()
        with place.container():
            st.markdown(f"#### Preparing {name}")
            st.caption("Once per start of the server. One pass over the images serves every concept.")
            bar = st.progress(0.0)
        while not work.wait(0.15):
            bar.progress(min(work.fraction, 1.0), text=work.doing)
        place.empty()
    if work.failed:
        _loading.clear(name)
    return work.base()


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


def choice_of(facts: Facts) -> Choice:
    """Return what this visitor has chosen, checked against the sample."""
    keys = ("class", "image", *choices.DEFAULTS)
    return choices.clean({key: st.session_state.get(key) for key in keys}, facts)


def remember_address() -> None:
    """Keep the address as it came: widgets drop what they cannot use, and the visitor should hear of it."""
    if "_address" not in st.session_state:
        st.session_state["_address"] = {key: st.query_params.get_all(key) for key in st.query_params}


def address_problems(facts: Facts) -> list[str]:
    """Return what in the address could not be used for a sample, as long as that sample is open."""
    address = st.session_state.get("_address", {})
    asked = address.get("model", [samples()[0]])
    if asked[-1:] != [facts.name]:
        return []
    return choices.problems(address, facts)


def unknown_sample() -> str | None:
    """Return a sentence if the address named a sample that does not exist."""
    for name in st.session_state.get("_address", {}).get("model", []):
        if name not in samples():
            return f"There is no sample “{name[:40]}”. Shown instead: {samples()[0]}."
    return None


def dismiss_address() -> None:
    """Forget the address as it came, and with it the message about it."""
    st.session_state["_address"] = {}


def _put(**values: Any) -> None:
    for key, value in values.items():
        st.session_state[key] = value


def reset() -> None:
    """Take every edit back."""
    _put(**{key: list(v) if isinstance(v, list) else v for key, v in choices.DEFAULTS.items()})


def sample_changed() -> None:
    """Start afresh: another sample has other concepts, layers and images."""
    reset()
    dismiss_address()
    _put(**{"class": None, "image": 1})


def new_image(number: int = 1) -> None:
    """Show another image of the same concept."""
    _put(image=number)


def random_image(facts: Facts) -> None:
    """Show any held-out image of any concept."""
    concept = random.choice(facts.classes)
    _put(**{"class": concept, "image": random.randint(1, facts.held_out[concept])})
