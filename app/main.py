"""Navigation and the shared side bar, nothing else."""

from __future__ import annotations

import streamlit as st

from app import session
from app.style import CSS
from app.views import live


def _side_bar() -> str:
    with st.sidebar:
        st.markdown("### Engram Explorer")
        st.caption("Find, switch off and measure single memories in a trained network.")
        names = session.samples()
        name = st.selectbox(
            "Sample model",
            names,
            key="model",
            bind="query-params",
            on_change=session.sample_changed,
            help="Small trained models that ship with the explorer.",
        )
    return name if name in names else names[0]


def main() -> None:
    """Draw the frame and run the chosen page."""
    st.set_page_config(page_title="Engram Explorer", layout="wide", initial_sidebar_state="auto")
    session.remember_address()
    st.html(CSS)
    name = _side_bar()
    page = st.navigation([st.Page(lambda: live.page(name), title="Live", url_path="live", default=True)])
    page.run()


main()
