"""What one visitor has chosen: the values of the widgets, by the keys of the address."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ..choice import choice as choices
from ..choice.address import KINDS
from ..choice.choice import Choice, Facts
from ..choice.picture import Picture, clean_picture
from ..choice.short_address import expanded, is_list
from ..options import server_options
from ..server.base import Base
from ..server.samples import samples, start_values_of
from .visitor_models import default_model, model_names

__all__ = [
    "all_names",
    "choice_of",
    "clear_inputs",
    "defaults",
    "edit_values",
    "erasing_of",
    "forget_own_strengths",
    "model",
    "models",
    "new_image",
    "note_names",
    "picture_of",
    "put",
    "random_image",
    "reset",
    "tidy",
    "tidy_for",
    "values",
]

_INPUTS: dict[str, Any] = {
    "class": None,
    "image": 1,
    "drawn": "",
    "prompt": None,
    "about": None,
    "concept": None,
    "only": [],
    "form": None,
    "said": [],
}
_STRENGTHS = ("strength", "keep_strength")  # of an edit; a button may be called alike
_NAMES = "_names"  # by model: all its concepts and layers


def note_names(facts: Facts) -> None:
    """Note the names that a model has, and put them in place of lists in bits that an address held."""
    known: dict[str, dict[str, Sequence[str]]] = st.session_state.setdefault(_NAMES, {})
    names = known[facts.name] = {"concepts": facts.classes, "layers": facts.layers}
    for key, every in names.items():
        chosen = st.session_state.get(key)
        if isinstance(chosen, list | tuple) and any(map(is_list, chosen)):
            st.session_state[key] = expanded(chosen, every)


def all_names() -> dict[str, Sequence[str]]:
    """Return all names of the chosen model by the key of the lists of them; {} before it was loaded."""
    known: dict[str, dict[str, Sequence[str]]] = st.session_state.get(_NAMES, {})
    return known.get(model(), {})


def models() -> list[str]:
    """Return the names of all models that this visitor can choose, the default first."""
    names = [*samples(), *model_names()]
    first = default_model()
    if first in names:
        names = [first, *(name for name in names if name != first)]
    return names


def model() -> str:
    """Return the name of the chosen model."""
    name = st.session_state.get("model")
    return name if name in models() else models()[0]


def defaults(name: str) -> dict[str, Any]:
    """Return the value of every widget of the edit when nothing is edited; the model need not be loaded."""
    # A copy each: lists in it become values of widgets.
    plain = {
        key: list(value) if isinstance(value, list) else value for key, value in choices.DEFAULTS.items()
    }
    return plain | start_values_of(name)


def put(**values: Any) -> None:
    """Set the values of widgets, those of widgets that are not on the screen too."""
    for key, value in values.items():
        st.session_state[key] = value


def _raw() -> dict[str, Any]:
    return {str(key): value for key, value in st.session_state.items() if not str(key).startswith("_")}


def values(name: str | None = None) -> dict[str, Any]:
    """Return the whole choice by the keys of the address; what is at the model's default is left out."""
    plain = defaults(name or model())
    known = {key: st.session_state.get(key) for key in KINDS}
    chosen = st.session_state.get("concepts") or ()
    if st.session_state.get("own"):
        strengths = {str(key): st.session_state[key] for key in st.session_state}
        known |= {
            key: value
            for key, value in strengths.items()
            if key.startswith(choices.ALPHA)
            and (key.removeprefix(choices.ALPHA) in chosen or any(map(is_list, chosen)))
        }
    found = {
        key: value
        for key, value in known.items()
        if (value != plain[key] if key in plain else value not in (None, "", [], False))
    }
    if found.get("mode") == choices.KEEP and "strength" in found:
        # Named even at its default: without it the strength of erasing would be read as that of keeping.
        kept = known.get("keep_strength")
        found["keep_strength"] = plain["keep_strength"] if kept is None else kept
    return found


def edit_values() -> dict[str, Any]:
    """Return the edit and the input, by key: what a visitor chooses and no page does."""
    found = {str(key): st.session_state[key] for key in st.session_state}
    named = (*choices.DEFAULTS, "class", "prompt")
    return {
        key: value
        for key, value in found.items()
        if (key in named or key.startswith(choices.ALPHA)) and value is not None
    }


def choice_of(facts: Facts) -> Choice:
    """Return the edit that this visitor has chosen, checked against the model."""
    choice = choices.clean(_raw(), facts)
    most = server_options().most_concepts
    return choice if len(choice.concepts) <= most else choice.first(most)


def erasing_of(facts: Facts) -> Choice:
    """Return the edit that erases what this visitor has chosen, also while only that is kept."""
    raw = _raw()
    own = bool(raw.get("own")) and raw.get("mode") != choices.KEEP
    choice = choices.clean(raw | {"mode": choices.ERASE, "own": own}, facts)
    most = server_options().most_concepts
    return choice if len(choice.concepts) <= most else choice.first(most)


def picture_of(base: Base) -> Picture:
    """Return the picture that this visitor has chosen, checked against the model."""
    return clean_picture(_raw(), base.facts, base.sample.image_shape)


def reset(name: str | None = None) -> None:
    """Take every edit back, for the chosen model or one that is about to be chosen."""
    put(**defaults(name or model()))
    for key in [key for key in st.session_state if str(key).startswith(choices.ALPHA)]:
        del st.session_state[key]


def forget_own_strengths() -> None:
    """Let go of the strengths of single concepts: in the other mode they would mean something else."""
    put(own=False)
    for key in [key for key in st.session_state if str(key).startswith(choices.ALPHA)]:
        del st.session_state[key]


def clear_inputs() -> None:
    """Let go of the input that was chosen: another model has others."""
    put(**{key: value for key, value in _INPUTS.items() if key in st.session_state or key == "image"})


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


def tidy_for(facts: Facts, offered: Mapping[str, Sequence[Any]]) -> None:
    """Let go of every value that a model does not have.

    Args:
        facts: the model.
        offered: what its pages offer beside the edit, by key.
    """
    for key, options in (dict(offered) | choices.offered(facts)).items():
        tidy(key, options)
    keys = [str(key) for key in st.session_state]
    for key in [key for key in keys if key in _STRENGTHS or key.startswith(choices.ALPHA)]:
        tidy(key, low=facts.allowed[0], high=facts.allowed[1])
        if key.startswith(choices.ALPHA) and key.removeprefix(choices.ALPHA) not in facts.classes:
            st.session_state.pop(key, None)


def new_image(number: int = 1) -> None:
    """Show another image of the same concept."""
    put(image=number, drawn="")


def random_image(facts: Facts) -> None:
    """Show any held-out image of any concept."""
    concept = random.choice(facts.classes)
    put(**{"class": concept, "image": random.randint(1, facts.held_out[concept]), "drawn": ""})
