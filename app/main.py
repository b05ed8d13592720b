"""Navigation and the shared side bar, nothing else."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import streamlit as st

from engram_core.errors import EngramError
from engram_core.libraries import foreign_errors

# Streamlit runs this file as a script of no package; in the wheel its folder has another name.
__package__ = Path(__file__).parent.name

from .figures.words.as_text import Markdown, filled, plain
from .page import progress
from .page.style import CSS, PRESENTER
from .server.base import Base
from .server.samples import samples
from .session import arrival, awaited, state, visitors, written_address
from .session.visitor_models import shown_name
from .views.my_model import page as model
from .views.registry import REGISTRY, View, offered
from .views.shared import reconnect

_LOG = logging.getLogger(__name__)
_FEW_NOTES = 5  # about an address that are shown at once


def _side_bar() -> str | None:
    """Draw the side bar; return a sentence about a model that is not there, for the page."""
    # Asked before the list below lets go of a name that it does not hold.
    unknown = awaited.unknown_model()
    with st.sidebar:
        st.markdown("### Engram Explorer")
        st.caption("Find, erase and measure single concepts in a trained network.")
        state.tidy("model", state.models())
        st.selectbox(
            "Model",
            state.models(),
            format_func=shown_name,
            key="model",
            persist_state="session",
            on_change=arrival.model_changed,
            help="Small trained models that ship with the explorer, and those opened under “My model”.",
        )
        st.toggle(
            "Presenter mode",
            key="present",
            persist_state="session",
            help="Large type, the controls behind buttons, and this side bar folded away: the arrow at the "
            "top left brings it back.",
        )
    return unknown


def _about(base: Base) -> None:
    facts = base.facts
    called = shown_name(facts.name)
    with st.sidebar:
        st.markdown(filled("**{}**", base.sample.title if called == facts.name else called))
        st.caption(plain(base.sample.summary))
        st.caption(
            plain(
                f"{len(facts.classes)} concepts · {len(facts.layers)} layers hold memories · "
                f"{sum(facts.held_out.values()):,} {base.probe}s · base {base.mean_score}"
            )
        )
        with st.popover("Model card", width="stretch"):
            st.markdown(_card(base))


def _card(base: Base) -> Markdown:
    # Ours are written in Markdown; that of a visitor's own model quotes folders, whose names are text.
    bundled = base.facts.name in samples()
    return Markdown(base.sample.card) if bundled else plain(base.sample.card)


def _notes(base: Base) -> None:
    options = offered(base.facts)
    notes = written_address.address_problems(base.facts, options)
    arrival.settle(base.facts, options)
    if not notes:
        return
    more = notes[_FEW_NOTES:]
    st.info(
        "Not everything in the address could be used; the default stands instead: "
        + plain("; ".join(notes[:_FEW_NOTES]))
        + (f"; and {len(more)} more." if more else ".")
    )
    if more:
        with st.expander(f"The other {len(more)}"):
            st.caption(plain("; ".join(more)) + ".")


def _page(entry: View, said: list[str]) -> None:
    for sentence in said:
        st.info(plain(sentence))
    if not entry.needs_base:
        entry.draw()
        return
    try:
        base = visitors.base_of(state.model())
    except EngramError as error:
        st.warning(plain(error))
        return
    _about(base)
    _notes(base)
    try:
        entry.draw(base)
    except progress.Stopped:
        pass  # the page says so where the work stood
    except BaseException as error:
        # Of a visitor's own model anything may come at any time: its tokenizer, say, is not ours.
        if base.facts.name in samples() or not foreign_errors(error):
            raise
        _LOG.exception("%s: %s", base.facts.name, entry.path)
        why = str(error) if isinstance(error, EngramError) else f"({type(error).__name__})"
        st.error(plain(f"This model cannot do what was asked for here. {why}"))


def main() -> None:
    """Draw the frame and run the chosen page."""
    # Before anything is drawn: how it is drawn is a part of the choice.
    asked = arrival.arrive()
    asked = arrival.pending() or asked
    presenting = st.session_state.get("present") is True
    st.set_page_config(
        page_title="Engram Explorer",
        layout="wide",
        initial_sidebar_state="collapsed" if presenting else "auto",
    )
    st.html(CSS + (PRESENTER if presenting else ""))
    # What the side bar, which is drawn first, has to tell the page. Not in the session: the run that was
    # replaced by this one may still be at it there.
    said: list[str] = []
    pages = {
        entry.path: st.Page(
            partial(_page, entry, said), title=entry.title, url_path=entry.path, default=entry.first
        )
        for entry in REGISTRY
    }
    chosen = st.navigation(list(pages.values()), position="top")
    if asked in pages and pages[asked] is not chosen:
        # With the choice at once, or Back would first come to this page without one.
        st.switch_page(pages[asked], query_params=written_address.next_address())
    if unknown := _side_bar():
        said.append(unknown)
    with st.sidebar:
        reconnect.watch()
        model.remember()
    # Before the model is loaded: a reload in the middle of that must find the choice.
    written_address.write_address()
    chosen.run()


main()
