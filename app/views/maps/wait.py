"""Waiting for a map that is made elsewhere, in a way that a click ends."""

from __future__ import annotations

import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import streamlit as st

__all__ = ["wait_for"]


def wait_for(job: Future[Any], place: Any) -> None:
    """Wait until a map is there, say for how long, and draw the page again.

    Args:
        job: the map on its way.
        place: an empty place for the words.
    """
    started = time.monotonic()
    while not job.done():
        # Every call into Streamlit is a point at which a visitor who moves on ends this run.
        place.caption(
            f":material/hourglass_top: UMAP is on its way, {time.monotonic() - started:.0f} s so far. The "
            "first map after a start of the server takes about half a minute, later ones a second or two."
        )
        try:
            job.exception(timeout=0.5)
        except NotYet:
            continue
    st.rerun()
