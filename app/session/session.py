"""One visitor: what was chosen, the base it is about, and the edited view that only this visitor has."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from engram_core.errors import EngramError
from engram_core.opening.samples import sample_names

from ..choice import choice as choices
from ..choice import search
from ..choice.address import KINDS, to_query, values_of
from ..choice.choice import Choice, Facts
from ..choice.picture import Picture, clean_picture
from ..compute.visitor import Visitor
from ..figures.words.as_text import plain
from ..options import started
from ..server.base import Base
from ..server.model_facts import start_of
from . import own_models as owned

__all__ = [
    "address_problems",
    "arrive",
    "base_of",
    "choice_of",
    "defaults",
    "go",
    "model",
    "models",
    "new_image",
    "open_address",
    "own_model",
    "pending",
    "picture_of",
    "random_image",
    "reset",
    "sample_changed",
    "settle",
    "tidy",
    "unknown_model",
    "values",
    "visitor_of",
    "write_address",
]

_LOG = logging.getLogger(__name__)
_VISITORS = "_visitors"
_ADDRESS = "_address"
_PENDING = "_pending"
_WRITTEN = "_written"
_OPENED = "_opened_address"
_AWAITED = "_awaited"
_SEEN = "_seen"
_MOST_VIEWS = 2
_FIRST = "digits-mlp"

own_model = owned.open_model
_own = owned.own
_loading = owned.loading


@st.cache_data(ttl=60)
def _samples() -> list[str]:
    names = sample_names()
    return sorted(names, key=lambda name: (name != _FIRST, name.endswith("-lm"), name))


def models() -> list[str]:
    """Return the names of all models that this visitor can choose, the default first."""
    names = [*_samples(), *owned.listed()]
    first = owned.first()
    if first in names:
        names = [first, *(name for name in names if name != first)]
    return names


def model() -> str:
    """Return the name of the chosen model."""
    name = st.session_state.get("model")
    return name if name in models() else models()[0]


def base_of(name: str) -> Base:
    """Return the base of a model; while it is being prepared, show how far it is.

    Raises:
        EngramError: if the model cannot be loaded; the next call tries again.
    """
    owned.used(name)
    work = _loading(name)
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
        _loading.clear(name)
    try:
        return work.base()
    except EngramError:
        raise
    except Exception as error:
        _LOG.exception("%s could not be prepared", name)
        more = "" if started().demo else f" ({type(error).__name__}: {error})"
        raise EngramError(
            f"The model {name} could not be prepared{more}. Reload the page to try again, or choose another "
            "model at the side."
        ) from None


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


def _raw() -> dict[str, Any]:
    return {str(key): value for key, value in st.session_state.items() if not str(key).startswith("_")}


def values(name: str | None = None) -> dict[str, Any]:
    """Return the whole choice by the keys of the address; what is at the model's default is left out."""
    plain = defaults(name or model())
    known = {key: st.session_state.get(key) for key in KINDS}
    own = {str(key): st.session_state[key] for key in st.session_state if str(key).startswith(choices.ALPHA)}
    chosen = st.session_state.get("concepts") or ()
    if st.session_state.get("own"):
        known |= {key: value for key, value in own.items() if key.removeprefix(choices.ALPHA) in chosen}
    return {
        key: value
        for key, value in known.items()
        if (value != plain[key] if key in plain else value not in (None, "", [], False))
    }


def choice_of(facts: Facts) -> Choice:
    """Return the edit that this visitor has chosen, checked against the model."""
    choice = choices.clean(_raw(), facts)
    most = started().most_concepts
    return choice if len(choice.concepts) <= most else choice.first(most)


def picture_of(base: Base) -> Picture:
    """Return the picture that this visitor has chosen, checked against the model."""
    return clean_picture(_raw(), base.facts, base.sample.image_shape)


def arrive() -> str | None:
    """Take over the choice in the address when somebody comes with one; return the page that it names.

    Somebody comes with the first run of a session, and with the browser's back and forward buttons. An
    address that is merely another than the one written last proves nothing: a click made before the browser
    has heard of the newest address still carries the one before. Widgets are not bound to the address by
    Streamlit: what is set by a program reaches a bound address only if its widget was there before (1.67),
    and links would lose half of what they name.
    """
    found = {key: st.query_params.get_all(key) for key in st.query_params}
    first = _WRITTEN not in st.session_state
    if first:
        st.session_state[_ADDRESS] = found
        _put(**values_of(found))
        _await(found)
    elif found and _by_history():
        _take_over(found)
    elif _PENDING in st.session_state:
        pass  # what is about to be opened says what becomes of a choice that waits
    elif _held_address() and owned.adopt(st.session_state[_AWAITED][0]):
        _take_over(st.session_state[_AWAITED][1])
    st.session_state[_WRITTEN] = found
    return found.get("page", [""])[-1] if first else None


def _by_history() -> bool:
    """Return whether the browser's back or forward button started this run."""
    return bool(getattr(get_script_run_ctx(), "is_history_navigation", False))


def _take_over(found: Mapping[str, Sequence[str]]) -> None:
    """Put a whole choice in force: what it does not name is as on the first day.

    Set and not deleted: a widget on the screen would go on showing what it had.
    """
    values = values_of(found)
    name = values.get("model")
    _await(found)
    reset(name if name in models() else None)
    blank = _BLANK | {key: start for key, (start, *_) in choices.writing(started().most_tokens).items()}
    for key, kind in KINDS.items():
        if key in st.session_state and key not in values and key not in (*choices.DEFAULTS, "model"):
            st.session_state[key] = blank.get(key, False if kind is bool else None)
    st.session_state[_ADDRESS] = {key: list(texts) for key, texts in found.items()}
    _put(**values)


def _await(found: Mapping[str, Sequence[str]]) -> None:
    """Set a whole choice aside until its model is here, if it is not."""
    name = values_of(found).get("model")
    st.session_state.pop(_AWAITED, None)
    st.session_state.pop(_SEEN, None)
    if name is not None and not owned.adopt(name) and name not in models():
        st.session_state[_AWAITED] = name, {key: list(texts) for key, texts in found.items() if key != "page"}


def _held_address() -> dict[str, list[str]] | None:
    """Return the address to be left alone: its model is awaited, and nothing was chosen since."""
    if _AWAITED not in st.session_state:
        return None
    # None: something was chosen. Empty: the model shown instead has not yet let go of what it does not have.
    seen: dict[str, Any] | None = st.session_state.get(_SEEN, {})
    now = _edit()
    if seen is None or any(now[key] != value for key, value in seen.items() if key in now):
        _move_on()
        return None
    address: dict[str, list[str]] = st.session_state[_AWAITED][1]
    return address


def _edit() -> dict[str, Any]:
    """Return the edit and the input, by key: what a visitor chooses and no page does."""
    found = {str(key): st.session_state[key] for key in st.session_state}
    named = (*choices.DEFAULTS, "class", "prompt")
    return {
        key: value
        for key, value in found.items()
        if (key in named or key.startswith(choices.ALPHA)) and value is not None
    }


def _move_on() -> None:
    """Let the address follow the choice again; what is awaited is kept for the day its model is here."""
    if _AWAITED in st.session_state:
        st.session_state[_SEEN] = None


def open_address(page: str, address: Mapping[str, Sequence[str]]) -> None:
    """Open a page with the whole choice of an address or a session file; ends the run."""
    st.session_state[_PENDING], st.session_state[_OPENED] = (page, {}), address
    st.rerun()


def next_address() -> dict[str, list[str]]:
    """Return what the address is to say: the whole choice, or what it says while its model is awaited."""
    return _held_address() or parse_qs(to_query(values()), keep_blank_values=True)


def write_address() -> None:
    """Write the whole choice into the address."""
    wanted = next_address()
    if wanted != st.session_state.get(_WRITTEN):
        st.session_state[_WRITTEN] = wanted
        st.query_params.from_dict(wanted)


def address_problems(facts: Facts, offered: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Return what in the address could not be used for a model, as long as that model is open.

    Args:
        facts: the model.
        offered: what the pages offer beside the edit, by key.
    """
    address = st.session_state.get(_ADDRESS, {})
    asked = address.get("model", [models()[0]])
    if asked[-1:] != [facts.name]:
        return []
    options = started()
    limits = {key: (low, high) for key, (_, low, high) in choices.writing(options.most_tokens).items()}
    limits |= search.bounds(facts, demo=options.demo)
    found = choices.problems(address, facts, offered or {}, limits)
    count = len(set(address.get("concepts", ())) & set(facts.classes))
    if count > options.most_concepts:
        found.append(f"{count} concepts are too many here: the first {options.most_concepts} count")
    return found


def unknown_model() -> str | None:
    """Return a sentence if the model that was asked for is not here, or is no longer."""
    name = st.session_state.get("model")
    if name is not None and name not in models() and st.session_state.get(_AWAITED, ("",))[0] != name:
        _await(parse_qs(to_query(values(str(name))), keep_blank_values=True))
    if not _held_address():
        return None
    lost = st.session_state[_AWAITED][0]
    said = f"There is no model “{lost[:40]}” on this server. Shown instead: {model()}."
    if started().demo:
        return said
    return (
        f"{said} An own model is known until the server stops, or others need its room after "
        f"{owned.MINUTES} minutes without use. Open it again under “My model”: what this address names of "
        "it comes back."
    )


def dismiss_address() -> None:
    """Forget the address as it came, and with it the message about it."""
    st.session_state[_ADDRESS] = {}


def _put(**values: Any) -> None:
    for key, value in values.items():
        st.session_state[key] = value


# Each caller gets a copy: lists in it become values of widgets.
@st.cache_data(ttl=60)
def defaults(name: str) -> dict[str, Any]:
    """Return the value of every widget of the edit when nothing is edited; the model need not be loaded."""
    return choices.DEFAULTS | choices.start_values(start_of(name))


def reset(name: str | None = None) -> None:
    """Take every edit back, for the chosen model or one that is about to be chosen."""
    _put(**defaults(name or model()))
    for key in [key for key in st.session_state if str(key).startswith(choices.ALPHA)]:
        del st.session_state[key]


_BLANK: dict[str, Any] = {"image": 1, "drawn": "", "step": 0}
"""Values of the first day, beside those of the writing; pages replace None by their own."""

_INPUTS: dict[str, Any] = {"class": None, "image": 1, "drawn": "", "prompt": None, "about": None}


def sample_changed() -> None:
    """Start afresh: another model has other concepts, layers and inputs."""
    reset()
    dismiss_address()
    _move_on()
    _put(**{key: value for key, value in _INPUTS.items() if key in st.session_state or key == "image"})


def tidy(key: str, options: Sequence[Any] | None = None, *, low: float = 0.0, high: float = 0.0) -> None:
    """Let go of a value that its widget could not hold: a link or a session file may name anything.

    Args:
        key: key of the widget.
        options: what it offers; a list of chosen ones is reduced to those. None for a number.
        low: least number.
        high: greatest number.
    """
    if key not in st.session_state:
        return
    value = st.session_state[key]
    if options is None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            del st.session_state[key]
    elif isinstance(value, list | tuple):
        if any(part not in options for part in value):
            st.session_state[key] = [part for part in value if part in options]
    elif value is not None and value not in options:
        del st.session_state[key]


def settle(facts: Facts, offered: Mapping[str, Sequence[Any]] | None = None) -> None:
    """Let go of what a model does not have, before a page writes it into its address again.

    Args:
        facts: the model.
        offered: what its pages offer beside the edit, by key.
    """
    for key, options in (dict(offered or {}) | choices.offered(facts)).items():
        tidy(key, options)
    keys = [str(key) for key in st.session_state]
    for key in [key for key in keys if key == "strength" or key.startswith(choices.ALPHA)]:
        tidy(key, low=facts.allowed[0], high=facts.allowed[1])
        if key.startswith(choices.ALPHA) and key.removeprefix(choices.ALPHA) not in facts.classes:
            st.session_state.pop(key, None)
    if _held_address() is not None:
        st.session_state.setdefault(_SEEN, defaults(model()) | _edit())


def go(page: str, **values: Any) -> None:
    """Open a page with a choice: what is not named of the edit is as if nothing were edited.

    Call it outside callbacks; it ends the run.
    """
    dismiss_address()
    st.session_state[_PENDING] = (page, values)
    st.rerun()


def pending() -> str | None:
    """Put a choice made by `go` in force; return the page that it is for."""
    page: str | None
    page, values = st.session_state.pop(_PENDING, (None, {}))
    opened = st.session_state.pop(_OPENED, None)
    if page is None:
        return None
    if opened is not None:
        _take_over(opened)
        return page
    name = values.get("model") or model()
    if name == st.session_state.get(_AWAITED, ("",))[0] and name in models():
        _take_over(st.session_state[_AWAITED][1])
        return page
    if values:
        _move_on()
    if name in models():
        if model() != name:
            sample_changed()
        if set(values) & {*choices.DEFAULTS, "model"}:
            reset(name)
        _put(model=name)
    if {"class", "image"} & set(values):
        _put(drawn="")  # a drawing would be shown instead of the image that is named
    _put(**{key: value for key, value in values.items() if key != "model"})
    return page


def new_image(number: int = 1) -> None:
    """Show another image of the same concept."""
    _put(image=number, drawn="")


def random_image(facts: Facts) -> None:
    """Show any held-out image of any concept."""
    concept = random.choice(facts.classes)
    _put(**{"class": concept, "image": random.randint(1, facts.held_out[concept]), "drawn": ""})
