"""How a table's columns are headed and rounded on the screen; what is downloaded keeps all digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

__all__ = ["column_config"]

_HEADS = {
    "base nll": "Base NLL (nats/token)",
    "edited nll": "Edited NLL (nats/token)",
    "base first": "Base P(first token)",
    "edited first": "Edited P(first token)",
    "base nats": "Base NLL (nats/token)",
    "edited nats": "Edited NLL (nats/token)",
    "split": "Recorded or probe",
    "norm": "Size ‖E‖",
    "cosine": "Cosine",
    "truth": "True class",
}


def column_config(table: pd.DataFrame) -> dict[str, Any]:
    """Return Streamlit's column settings for a table: readable heads, and no more digits than can be read."""
    found: dict[str, Any] = {}
    for name in table.columns:
        head = _HEADS.get(str(name)) or str(name)[:1].upper() + str(name)[1:].replace("_", " ")
        if pd.api.types.is_float_dtype(table[name]):
            largest = float(np.nanmax(np.abs(table[name].to_numpy(float)), initial=0.0))
            found[name] = st.column_config.NumberColumn(head, format="%.1f" if largest >= 100 else "%.3f")
        elif name in ("base", "edited") and pd.api.types.is_bool_dtype(table[name]):
            found[name] = st.column_config.Column(f"{head} exact")
        else:
            found[name] = st.column_config.Column(head, width="large" if name == "reason" else None)
    return found
