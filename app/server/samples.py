"""The installed samples and what their widgets start with: asked at every click, so remembered a minute."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engram_core.opening.samples import sample_names

from ..choice.choice import start_values
from .model_facts import start_of

__all__ = ["samples", "start_values_of"]

_FIRST = "digits-mlp"


@st.cache_data(ttl=60)
def samples() -> list[str]:
    """Return the names of the installed samples: the quickest first, language models last."""
    return sorted(sample_names(), key=lambda name: (name != _FIRST, name.endswith("-lm"), name))


@st.cache_data(ttl=60)
def start_values_of(name: str) -> dict[str, Any]:
    """Return the strength and sharpness that the widgets start with for a model, which need not be loaded."""
    return start_values(start_of(name))
