"""The controls of the live page: which image, which concepts, how strongly."""

from __future__ import annotations

import streamlit as st

from .. import choice as choices
from .. import session
from ..choice import Choice, Facts
from ..core_adapter import Base
from ..figures.images import data_uri
from ..figures.text import HOW

__all__ = ["advanced", "edit", "gallery"]

_PAGE = 20  # thumbnails at once


def gallery(base: Base) -> None:
    """Choose a held-out image: its class, then one of the thumbnails, or its number."""
    facts = base.facts
    st.markdown("##### Image")
    if st.session_state.get("class") not in facts.classes and not st.query_params.get("class"):
        st.session_state["class"] = facts.classes[0]
    st.pills(
        "Class of the image",
        facts.classes,
        key="class",
        bind="query-params",
        required=True,
        on_change=session.new_image,
        label_visibility="collapsed",
        wrap=True,
    )
    thumbnails = st.container(key="thumbnails")
    number, button = st.columns([1, 1], vertical_alignment="bottom")
    count = facts.held_out[session.choice_of(facts).shown]
    with number:
        st.number_input(f"Image number (1 to {count})", 1, count, key="image", bind="query-params")
    with button:
        st.button("Random image", on_click=session.random_image, args=(facts,), width="stretch")
    # Drawn above but called last: the number, which is what the address holds, must be known first.
    with thumbnails:
        _thumbnails(base, session.choice_of(facts))


def _thumbnails(base: Base, choice: Choice) -> None:
    first = (choice.image - 1) // _PAGE * _PAGE
    last = min(first + _PAGE, base.facts.held_out[choice.shown])
    # They follow the number and never keep a choice of their own.
    st.session_state["picture"] = choice.image
    st.pills(
        f"Held-out images of {choice.shown}",
        range(first + 1, last + 1),
        format_func=lambda n: f"![{choice.shown}, image {n}]({data_uri(base.pixels(choice.shown, n))})",
        key="picture",
        required=True,
        on_change=_picked,
        label_visibility="collapsed",
        wrap=True,
    )


def _picked() -> None:
    session.new_image(st.session_state["picture"])


def edit(facts: Facts) -> None:
    """Choose what is switched off or kept, and how strongly."""
    st.markdown("##### Memories")
    mode = st.segmented_control(
        "Mode",
        choices.MODES,
        default=choices.ERASE,
        key="mode",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    keeping = mode == choices.KEEP
    with st.container(key="kept" if keeping else "off"):
        st.pills(
            "Keep only these concepts" if keeping else "Switch these concepts off",
            facts.classes,
            selection_mode="multi",
            key="concepts",
            bind="query-params",
            wrap=True,
        )
    help_text = HOW["strength"]
    if keeping:
        null = st.segmented_control(
            "Start", choices.NULLS, default=choices.NULLS[0], key="null", bind="query-params", required=True
        )
        st.caption(HOW["null"])
        help_text = HOW["strength_in_place" if null == choices.IN_PLACE else "strength_nothing"]
    st.slider(
        "Strength",
        *choices.STRENGTHS,
        value=1.0,
        step=0.05,
        key="strength",
        bind="query-params",
        help=help_text,
    )


def advanced(facts: Facts) -> None:
    """Choose scaling, sharpness and layers."""
    with st.expander("Advanced: scaling, sharpness, layers"):
        st.segmented_control(
            "Scaling of the layers",
            choices.SCALINGS,
            default="plain",
            key="scaling",
            bind="query-params",
            required=True,
            help=HOW["scaling"],
        )
        st.segmented_control(
            "Sharpness (power)",
            choices.POWERS,
            default="1",
            key="power",
            bind="query-params",
            required=True,
            help=HOW["power"],
        )
        st.toggle("Clip", key="clip", bind="query-params", help=HOW["clip"])
        st.pills(
            "Layers (none chosen: all)",
            facts.layers,
            selection_mode="multi",
            key="layers",
            bind="query-params",
            help=HOW["layers"],
        )
