"""What a visitor gave under "My model", kept by the browser for this tab: a reload finds it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

__all__ = ["exchange"]

# Not in the address: a link that is passed on would carry paths of this machine, or somebody's check-up. The
# storage of a tab outlives a reload and the server, and ends with the tab.
_JS = """
export default function ({ data, setStateValue }) {
  const place = 'engram-own-model';
  try {
    if (data.known) {
      window.sessionStorage.setItem(place, JSON.stringify(data.keep));
    } else {
      const kept = JSON.parse(window.sessionStorage.getItem(place));
      if (kept) setStateValue('kept', kept);
    }
  } catch {
    // No storage, or not ours: then a reload begins anew.
  }
}
"""

_LONGEST = 4096  # characters of one text

_component = None


def exchange(keep: Mapping[str, str], *, known: bool) -> dict[str, str]:
    """Have the browser keep some texts, or return those it has kept.

    Args:
        keep: what to keep, by name.
        known: whether this session has something to keep; if not, the browser is asked.

    Returns:
        What was kept, of the names in `keep`; {} if nothing, or if the browser has not answered yet. It
        comes from outside, so it may be anything.
    """
    global _component
    if _component is None:
        _component = st.components.v2.component("engram_kept", js=_JS)
    result: Any = _component(
        key="_own_kept", data={"known": known, "keep": dict(keep)}, on_kept_change=lambda: None
    )
    found = result.kept
    if known or not isinstance(found, Mapping):
        return {}
    return {
        name: text
        for name, text in found.items()
        if name in keep and isinstance(text, str) and len(text) <= _LONGEST
    }
