"""What a visitor gave under "My model", kept by the browser for this tab: a reload finds it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ...options import server_options
from ...session import visitor_models
from ...session.visitor_identity import take_visitor_id, visitor_id

__all__ = ["LAST", "MODEL", "PATH", "SAID", "exchange", "remember"]

MODEL, PATH = "_own_model", "_own_path"
LAST = "_last_check"  # what the last check-up was of: the name of an upload, or `PATH`
SAID = "_said_of_check"  # why there is no check-up
_KNOWN = "_own_known"  # whether this session has something of its own, or the browser's

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


def remember() -> None:
    """Have the browser keep what was given here, or take up what it has kept; on whatever page that is."""
    options, state = server_options(), st.session_state
    if options.demo:
        return
    state.setdefault(MODEL, options.model)
    state.setdefault(PATH, options.concepts)
    typed = (state[MODEL], state[PATH]) != (options.model, options.concepts)
    known = state[_KNOWN] = bool(state.get(_KNOWN) or typed or LAST in state)
    keep = {
        "visitor": visitor_id(),
        "model": state[MODEL],
        "path": state[PATH],
        "last": state.get(LAST, ""),
    }
    found = exchange(keep, known=known)
    if not found:
        return
    state[_KNOWN] = True
    take_visitor_id(found.get("visitor", ""))
    state[MODEL], state[PATH] = found.get("model", ""), found.get("path", "")
    last = state[LAST] = found.get("last", "")
    if last and visitor_models.current_check() is None:
        gone = "Its check-up is no longer here: this server was started again since, or needed the room. "
        if last == PATH:
            state[SAID] = gone + "What you typed is still there: press “Check it” once more."
        else:
            state[SAID] = gone + f"An uploaded file is not kept: upload “{last}” again and press “Check it”."
    st.rerun()  # the list of models was drawn for somebody else
