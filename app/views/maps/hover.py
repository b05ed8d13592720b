"""The picture of the point under the mouse: Plotly's own notes hold text alone."""

from __future__ import annotations

import streamlit as st

from ...compute.maps import Sprite
from ...figures.panels.png import data_uri

__all__ = ["pictures_on_hover"]

_SHOWN = 84  # pixels of the longer side on the screen

# One listener for the page, which looks up what Plotly itself has under the mouse. Plotly notes that a
# little after the move, hence the second look.
_JS = """
export default function ({ data }) {
  const shown = document.createElement('div');
  shown.className = 'ee-hover';
  shown.setAttribute('aria-hidden', 'true');
  const { uri, columns, width, height, count, pixels } = data;
  const scale = pixels / Math.max(width, height), rows = Math.ceil(count / columns);
  Object.assign(shown.style, {
    position: 'fixed', display: 'none', pointerEvents: 'none', zIndex: 1000000, borderRadius: '6px',
    width: `${width * scale}px`, height: `${height * scale}px`, imageRendering: 'pixelated',
    border: '2px solid #fff', boxShadow: '0 2px 10px rgba(0,0,0,.45)', backgroundImage: `url(${uri})`,
    backgroundSize: `${columns * width * scale}px ${rows * height * scale}px`,
  });
  document.body.append(shown);
  let timer = null;
  const look = (plot, x, y) => {
    const point = plot?._hoverdata?.[0], number = point?.customdata?.[0];
    if (!plot?.isConnected || !(number >= 0 && number < count)) { shown.style.display = 'none'; return; }
    const column = number % columns, row = Math.floor(number / columns);
    Object.assign(shown.style, {
      display: 'block', backgroundPosition: `${-column * width * scale}px ${-row * height * scale}px`,
      left: `${Math.max(4, x - width * scale - 18)}px`, top: `${Math.max(4, y + 14)}px`,
    });
    shown.dataset.number = number;
  };
  const move = event => {
    const plot = event.target.closest?.('.st-key-map_plot')?.querySelector('.js-plotly-plot');
    clearTimeout(timer);
    look(plot, event.clientX, event.clientY);
    if (plot) timer = setTimeout(() => look(plot, event.clientX, event.clientY), 120);
  };
  document.addEventListener('mousemove', move);
  return () => { clearTimeout(timer); document.removeEventListener('mousemove', move); shown.remove(); };
}
"""

_component = None


def pictures_on_hover(sprite: Sprite) -> None:
    """Show the picture of each point while the mouse is on it.

    Args:
        sprite: all pictures of the map in one, in the order of the points.
    """
    global _component
    if _component is None:
        _component = st.components.v2.component("engram_hover", js=_JS)
    height, width = sprite.shape
    _component(
        key="map_hover",
        data={
            "uri": data_uri(sprite.pixels), "columns": sprite.columns, "width": width, "height": height,
            "count": sprite.count, "pixels": _SHOWN,
        },
    )  # fmt: skip
