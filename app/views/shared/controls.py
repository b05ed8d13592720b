"""The controls of the edit, the same on every page: which concepts, how strongly, where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ...choice import choice as choices
from ...choice.choice import Choice, Facts
from ...figures.words.as_text import Markdown, plain
from ...figures.words.live import HOW, describe_edit
from ...figures.words.options import option_word
from ...options import server_options
from ...session import arrival, state
from ...session.selection import select_added

__all__ = [
    "advanced", "control_wanted", "details", "edit", "folded", "ready", "seeds_wanted", "switches", "wanted",
]  # fmt: skip

_PILLS = 24  # more concepts than that are looked up, not looked at


def ready(key: str, options: Sequence[str], start: str) -> None:
    """Give a widget a value that it can hold, whatever the address said; call it just before the widget.

    A default of the widget's own would make Streamlit warn as soon as an address names another value.
    """
    state.tidy(key, list(options))
    if st.session_state.get(key) is None:
        st.session_state[key] = start


def control_wanted(facts: Facts) -> bool:
    """Return whether the control is to be run; of a large model, which takes minutes, it is asked here."""
    return wanted(facts, "Run the control", "control", HOW["control"])


def wanted(facts: Facts, label: Markdown, key: str, help_text: Markdown) -> bool:
    """Return whether something is to be measured: at once for a small model, of a large one it is asked."""
    return not facts.slow or st.toggle(label, key=key, persist_state="session", help=help_text)


def seeds_wanted(few: int, many: int, *, note: Markdown = "") -> int:
    """Return how many seeds of each control are measured: a few at once, many when they are asked for.

    Args:
        few: as many as a look takes.
        many: as many as a test takes.
        note: what is said beside the choice while it is the few.
    """
    ready("seeds", choices.SEEDS, choices.SEEDS[0])
    with st.container(horizontal=True, vertical_alignment="center"):
        chosen = st.segmented_control(
            "Seeds of each control", choices.SEEDS, key="seeds", persist_state="session", required=True,
            format_func=lambda text: f"{few if text == choices.SEEDS[0] else many} seeds",
            label_visibility="collapsed", help=HOW["seeds"],
        )  # fmt: skip
        if chosen != choices.SEEDS[1] and note:
            st.caption(note, width="stretch")
    return many if chosen == choices.SEEDS[1] else few


def folded(facts: Facts, *, find: bool = True) -> Choice:
    """Draw the edit behind one button, for pages that are about something else; return the edit.

    Args:
        facts: the model.
        find: offer the way to the page that finds the strength, where nobody has done that.

    Returns:
        The choice, with the edit that was set there.
    """
    choice = state.choice_of(facts)
    with st.popover(f"Current edit: {plain(describe_edit(choice))}", width="stretch", key="edit_popover"):
        edit(facts, find=find)
        advanced(facts)
        st.button("Reset to the base model", on_click=state.reset, width="stretch", key="reset")
    return state.choice_of(facts)


def _tidy(facts: Facts) -> None:
    """Give every widget of the edit a value that it can hold."""
    arrival.settle(facts)
    chosen = st.session_state.get("concepts") or []
    if len(chosen) > server_options().most_concepts:  # a list that is too long is an error of the widget
        st.session_state["concepts"] = list(state.choice_of(facts).concepts)
    for key, value in state.defaults(facts.name).items():
        if st.session_state.get(key) is None:
            st.session_state[key] = value


def _concepts(facts: Facts, label: Markdown) -> list[str]:
    follow: Any = {"on_change": select_added, "args": ("concepts", tuple(st.session_state["concepts"]))}
    if len(facts.classes) <= _PILLS:
        chosen = st.pills(
            label, facts.classes, selection_mode="multi", key="concepts", persist_state="session", wrap=True,
            format_func=plain, **follow,
        )  # fmt: skip
    else:
        chosen = st.multiselect(
            label,
            facts.classes,
            key="concepts",
            persist_state="session",
            max_selections=server_options().most_concepts,
            placeholder=f"Type to search {len(facts.classes)} concepts",
            # With it, Enter would take every match of what is typed and not the best one.
            select_all=False,
            **follow,
        )
    return list(chosen or [])


def edit(facts: Facts, *, find: bool = True) -> None:
    """Choose what is switched off or kept, and how strongly; see `folded`."""
    _tidy(facts)
    st.markdown("##### Current edit")
    _mode()
    chosen = _chosen(facts)
    if _isolating():
        _start()
    _strength(facts)
    _about_strength(facts, find=find)
    _strength_of_each(facts, chosen)


def switches(facts: Facts) -> None:
    """Draw what an edit is changed by most often in one row: erase or keep, which concepts, how strongly."""
    _tidy(facts)
    with st.container(key="switches", horizontal=True, vertical_alignment="bottom"):
        _mode()
        _chosen(facts)
        with st.container(key="switches_strength", width=240):
            _strength(facts)


def details(facts: Facts) -> None:
    """Draw the rest of the edit, where `switches` stand on the page."""
    if _isolating():
        _start()
    _about_strength(facts, find=True)
    _strength_of_each(facts, state.choice_of(facts).concepts)
    advanced(facts)
    st.button("Reset to the base model", on_click=state.reset, width="stretch", key="reset")


def _isolating() -> bool:
    return bool(st.session_state.get("mode") == choices.KEEP)


def _mode() -> None:
    st.segmented_control(
        "Mode",
        choices.MODES,
        format_func=option_word,
        key="mode",
        persist_state="session",
        required=True,
        label_visibility="collapsed",
        on_change=state.forget_own_strengths,
    )


def _chosen(facts: Facts) -> list[str]:
    isolating = _isolating()
    with st.container(key="kept" if isolating else "off"):
        return _concepts(facts, "Concepts to isolate" if isolating else "Concepts to erase")


def _start() -> None:
    """Choose what keeping starts from."""
    st.segmented_control(
        "Starting point",
        choices.NULLS,
        key="null",
        persist_state="session",
        required=True,
        format_func=option_word,
    )
    st.caption(HOW["null"])


def _strength(facts: Facts) -> None:
    """Choose how strongly concepts are erased, or how strongly they are kept: two numbers, not one."""
    help_text = HOW["strength"]
    key = "strength"
    if _isolating():
        in_place = st.session_state.get("null") == choices.IN_PLACE
        key, help_text = "keep_strength", HOW["strength_in_place" if in_place else "strength_nothing"]
    st.slider("Strength", *_reach(facts, key), step=0.05, key=key, persist_state="session", help=help_text)


def _about_strength(facts: Facts, *, find: bool) -> None:
    """Say where the strength of erasing comes from, or how it is found."""
    if _isolating():
        return
    st.caption(plain(facts.strength_source) if facts.strength_source else HOW["not_searched"])
    if find and not facts.strength_source:
        if st.button("Find the strength", key="find_strength", icon=":material/search:", width="stretch"):
            arrival.go("strength")


def _reach(facts: Facts, key: str) -> tuple[float, float]:
    """Return the ends of a slider: those on offer, and further if a search has led further.

    They never come nearer again within a visit, or the slider would change under the visitor's hand.
    """
    place = f"_reach {facts.name} {key}"
    most = max(facts.strengths[1], st.session_state.get(place, 0.0), math.ceil(st.session_state[key]))
    st.session_state[place] = min(float(most), facts.allowed[1])
    return facts.strengths[0], st.session_state[place]


def _strength_of_each(facts: Facts, chosen: Sequence[str]) -> None:
    """Let every chosen concept have a strength of its own."""
    in_place = _isolating() and st.session_state.get("null") == choices.IN_PLACE
    if len(chosen) < 2 or in_place:
        return
    if not st.toggle("A strength for each", key="own", persist_state="session", help=HOW["own"]):
        return
    start = state.choice_of(facts).strength
    columns = st.columns(2)
    for place, name in enumerate(chosen[:12]):
        st.session_state.setdefault(choices.ALPHA + name, start)
        with columns[place % 2]:
            st.number_input(
                plain(name),
                *facts.allowed,
                step=0.1,
                key=choices.ALPHA + name,
                persist_state="session",
            )
    if len(chosen) > 12:
        st.caption(f"The first 12 of {len(chosen)}; the others have the common strength.")


def advanced(facts: Facts) -> None:
    """Choose scaling, sharpness and layers."""
    with st.expander("Advanced: scaling, selectivity, layers"):
        st.segmented_control(
            "Scaling of the layers",
            choices.SCALINGS,
            key="scaling",
            persist_state="session",
            required=True,
            help=HOW["scaling"],
        )
        st.segmented_control(
            "Selectivity (exponent)",
            choices.POWERS,
            key="power",
            persist_state="session",
            required=True,
            help=HOW["power"],
        )
        st.toggle("Cap at 1×", key="clip", persist_state="session", help=HOW["clip"])
        if len(facts.layers) <= _PILLS:
            st.pills(
                "Layers (none chosen: all)",
                facts.layers,
                format_func=plain,
                selection_mode="multi",
                key="layers",
                persist_state="session",
                help=HOW["layers"],
            )
        else:
            st.multiselect(
                "Layers (none chosen: all)",
                facts.layers,
                key="layers",
                persist_state="session",
                help=HOW["layers"],
                select_all=False,
            )
