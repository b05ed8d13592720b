"""When the server comes back, the page does too."""

from __future__ import annotations

import streamlit as st

__all__ = ["watch"]

# A restarted server does not know the parts of a page that it has not drawn itself: Streamlit (1.67) connects
# again but lets clicks inside a fragment fall silently. The whole choice is in the address, so a reload
# loses nothing.
_JS = """
export default function () {
  if (window.engramReconnect) return;
  let away = false;
  const look = () => {
    const app = document.querySelector('[data-test-connection-state]');
    const here = app?.dataset.testConnectionState === 'CONNECTED';
    if (here && away) window.location.reload();
    away = away || !here;
  };
  window.engramReconnect = new MutationObserver(look);
  window.engramReconnect.observe(document.body,
    { subtree: true, attributes: true, attributeFilter: ['data-test-connection-state'] });
}
"""

_component = None


def watch() -> None:
    """Load the page again once its connection was lost and is there again."""
    global _component
    if _component is None:
        _component = st.components.v2.component("engram_reconnect", js=_JS)
    _component(key="reconnect")
